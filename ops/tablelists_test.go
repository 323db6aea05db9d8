package ops

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// A listRow is a list with a filter: what AWS says of its pages (API reference of each operation), how
// long the list is, and what each entry has in common.
type listRow struct {
	name     string
	op       string
	request  in
	most     int // the largest Limit
	standard int // the size of a page without one
	length   int
	// member and value are of each entry, where the filter says so.
	member, value string
}

// TestLists takes every list through its filters and page sizes: the pages together are the whole list,
// in one order, none longer than asked for, and only the last has no marker.
func TestLists(t *testing.T) {
	h := newHarness(t)
	h.served()
	key, other := h.createKey(nil), h.createKey(nil)
	const keys = 104
	for range keys - 2 {
		h.createKey(nil)
	}
	h.limited(Quotas{Aliases: 60}) // the services' reserved aliases have a test of their own
	for i := range 53 {
		h.must("CreateAlias", in{"AliasName": fmt.Sprintf("alias/of/%d", i), "TargetKeyId": key.KeyId})
	}
	for i := range 3 {
		h.must("CreateAlias", in{"AliasName": fmt.Sprintf("alias/ow%d", i), "TargetKeyId": other.KeyId})
	}
	for i := range 50 {
		h.must("TagResource", in{"KeyId": key.KeyId, "Tags": tag(fmt.Sprintf("t%d=v", i))})
	}
	const service = "rds.amazonaws.com"
	accounts := []string{"arn:aws:iam::" + stranger + ":root", "arn:aws:iam::" + account + ":root"}
	var grantID string
	for i := range 56 {
		request := in{"KeyId": key.KeyId, "Operations": []string{"Decrypt"}, "GranteePrincipal": accounts[i%2], "RetiringPrincipal": accounts[1]}
		if i%14 == 0 {
			delete(request, "GranteePrincipal")
			delete(request, "RetiringPrincipal")
			request["GranteeServicePrincipal"], request["RetiringServicePrincipal"], request["Constraints"] = service, service, in{"SourceArn": bucketARN}
		}
		grantID = h.must("CreateGrant", request).(*kms.CreateGrantResponse).GrantId
	}
	h.editRecord(key.KeyId, func(r *keystore.KeyRecord) {
		for i := range uint32(120) {
			m := r.Materials[0]
			m.Ordinal, m.RotationType, m.Rotated = i+2, kms.RotationTypeAutomatic, h.clock.Now()
			m.ID = fmt.Sprintf("%064x", i)
			r.Materials = append(r.Materials, m)
		}
		r.Current = 121
	})
	rows := []listRow{
		{"keys", "ListKeys", in{}, 1000, 100, keys, "", ""},
		{"aliases", "ListAliases", in{}, 100, 50, 56, "", ""},
		{"aliases of a key", "ListAliases", in{"KeyId": key.KeyId}, 100, 50, 53, "TargetKeyId", key.KeyId},
		{"aliases of another key", "ListAliases", in{"KeyId": other.Arn}, 100, 50, 3, "TargetKeyId", other.KeyId},
		{"grants", "ListGrants", in{"KeyId": key.KeyId}, 100, 50, 56, "KeyId", key.Arn},
		{"grants to a principal", "ListGrants", in{"KeyId": key.Arn, "GranteePrincipal": accounts[1]}, 100, 50, 28, "GranteePrincipal", accounts[1]},
		{"grants to another", "ListGrants", in{"KeyId": key.Arn, "GranteePrincipal": accounts[0]}, 100, 50, 24, "GranteePrincipal", accounts[0]},
		{"grants to a service", "ListGrants", in{"KeyId": key.Arn, "GranteeServicePrincipal": service}, 100, 50, 4, "GranteeServicePrincipal", service},
		{"one grant", "ListGrants", in{"KeyId": key.Arn, "GrantId": grantID}, 100, 50, 1, "GrantId", grantID},
		{"no grants", "ListGrants", in{"KeyId": other.KeyId}, 100, 50, 0, "", ""},
		{"retirable grants", "ListRetirableGrants", in{"RetiringPrincipal": accounts[1]}, 100, 50, 52, "RetiringPrincipal", accounts[1]},
		{"retirable grants of a service", "ListRetirableGrants", in{"RetiringServicePrincipal": service}, 100, 50, 4, "RetiringServicePrincipal", service},
		{"key policies", "ListKeyPolicies", in{"KeyId": key.KeyId}, 1000, 100, 1, "", ""},
		{"rotations", "ListKeyRotations", in{"KeyId": key.KeyId}, 1000, 100, 120, "RotationType", "AUTOMATIC"},
		{"materials", "ListKeyRotations", in{"KeyId": key.KeyId, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"}, 1000, 100, 121, "KeyId", key.KeyId},
		{"tags", "ListResourceTags", in{"KeyId": key.KeyId}, 50, 50, 50, "TagValue", "v"},
		{"no tags", "ListResourceTags", in{"KeyId": other.KeyId}, 50, 50, 0, "", ""},
	}
	walked := map[string]bool{"DescribeCustomKeyStores": true} // has a table of its own
	for _, row := range rows {
		walked[row.op] = true
		t.Run(row.name, func(t *testing.T) {
			h := *h
			h.t = t
			h.walkList(row)
		})
	}
	for _, operation := range kms.Operations() {
		if operation.Paginated != "" && !walked[operation.Name] {
			t.Errorf("%s was not walked", operation.Name)
		}
	}
}

func (h *harness) walkList(row listRow) {
	h.t.Helper()
	operation, _ := kms.OperationByName(row.op)
	var whole []string
	for _, limit := range []int{row.most, row.most - 1, 7, row.length, row.length + 1, 1, 0} {
		if limit > row.most || limit < 0 {
			continue
		}
		size, request := limit, row.request
		if limit == 0 {
			size = row.standard
		} else {
			request = and(request, "Limit", limit)
		}
		var all []string
		for {
			page := members(h.t, h.must(row.op, request))
			truncated, told := page["Truncated"].(bool)
			next, marked := page["NextMarker"].(string)
			entries, _ := page[operation.Paginated].([]any)
			if !told || truncated != marked || len(entries) > size || truncated && len(entries) != size {
				h.t.Fatalf("with limit %d a page has %d entries, truncated %v, marker %q", limit, len(entries), page["Truncated"], next)
			}
			for _, entry := range entries {
				if row.member != "" && entry.(map[string]any)[row.member] != row.value {
					h.t.Errorf("an entry has the %s %v, want %s", row.member, entry.(map[string]any)[row.member], row.value)
				}
				text, _ := json.Marshal(entry)
				all = append(all, string(text))
			}
			if !truncated {
				break
			}
			request = and(request, "Marker", next)
		}
		seen := map[string]bool{}
		for _, entry := range all {
			seen[entry] = true
		}
		if len(all) != row.length || len(seen) != row.length {
			h.t.Errorf("with limit %d the list has %d entries, %d different ones, want %d", limit, len(all), len(seen), row.length)
		}
		if whole == nil {
			whole = all
		} else if strings.Join(whole, "\n") != strings.Join(all, "\n") {
			h.t.Errorf("with limit %d the list has another order", limit)
		}
	}
	bound := func(value int, text string, most int) {
		_, err := h.invoke(row.op, and(row.request, "Limit", value))
		wantError(h.t, err, kms.ValidationException, "1 validation error detected: Value '"+strconv.Itoa(value)+
			"' at 'limit' failed to satisfy constraint: Member must have value "+text+" than or equal to "+strconv.Itoa(most))
	}
	bound(0, "greater", 1)
	bound(row.most+1, "less", row.most)
	if row.request["GrantId"] != nil {
		return // there is no second page of one
	}
	for _, bad := range []string{"nonsense", marker("Another", "x"), marker(row.op, "")} {
		_, err := h.invoke(row.op, and(row.request, "Marker", bad))
		wantError(h.t, err, kms.InvalidMarkerException, "The marker is not valid.")
	}
}
