package ops

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

func userARN(account, name string) string { return "arn:aws:iam::" + account + ":user/" + name }

const grantAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}`

// users puts users of an account into the directory.
func (h *harness) users(account string, names ...string) {
	h.t.Helper()
	err := h.store.Update(h.t.Context(), func(tx *keystore.Tx) error {
		for _, name := range names {
			if err := tx.CreateUser(&keystore.UserRecord{
				Partition: "aws", Account: account, Name: name[strings.LastIndexByte(name, '/')+1:], ARN: userARN(account, name),
				Created: h.clock.Now(), ID: newUniqueID(userIDPrefix),
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *harness) grant(request in) *kms.CreateGrantResponse {
	h.t.Helper()
	return h.must("CreateGrant", request).(*kms.CreateGrantResponse)
}

// grants lists grants in pages of a size; the request has everything else.
func (h *harness) grants(call *Call, op string, limit int, request in) (entries []kms.GrantListEntry) {
	h.t.Helper()
	request["Limit"] = limit
	for {
		answer, err := h.invokeAs(call, op, request)
		if err != nil {
			h.t.Fatal(err)
		}
		out := answer.(*kms.ListGrantsResponse)
		if len(out.Grants) > limit || out.Truncated != (out.NextMarker != "") {
			h.t.Errorf("a page of %d, truncated %v, marker %q", len(out.Grants), out.Truncated, out.NextMarker)
		}
		entries = append(entries, out.Grants...)
		if !out.Truncated {
			delete(request, "Marker")
			return entries
		}
		request["Marker"] = out.NextMarker
	}
}

func idsOf(entries []kms.GrantListEntry) (ids []string) {
	for _, e := range entries {
		ids = append(ids, e.GrantId)
	}
	slices.Sort(ids)
	return ids
}

func TestCreateGrant(t *testing.T) {
	h := newHarness(t)
	h.users(account, "alice", "bob")
	key := h.createKey(nil)
	created := h.clock.Advance(1500 * time.Microsecond)
	made := h.grant(in{
		"KeyId": key.KeyId, "Name": "backup", "GranteePrincipal": userARN(account, "alice"), "RetiringPrincipal": userARN(account, "bob"),
		"Operations":  []string{"Encrypt", "Decrypt", "Encrypt", "DescribeKey"},
		"Constraints": in{"EncryptionContextSubset": in{"tenant": "7"}},
	})
	if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(made.GrantId) || !regexp.MustCompile(`^[A-Za-z0-9+/]+=*$`).MatchString(made.GrantToken) || len(made.GrantToken) > 200 {
		t.Errorf("%+v", made)
	}
	h.restart()
	want := kms.GrantListEntry{
		KeyId: key.Arn, GrantId: made.GrantId, Name: "backup", CreationDate: kms.TimestampOf(created),
		GranteePrincipal: userARN(account, "alice"), RetiringPrincipal: userARN(account, "bob"),
		IssuingAccount: "arn:aws:iam::111122223333:root",
		Operations:     []kms.GrantOperation{"Encrypt", "Decrypt", "DescribeKey"},
		Constraints:    &kms.GrantConstraints{EncryptionContextSubset: map[string]string{"tenant": "7"}},
	}
	got := h.grants(h.call(account), "ListGrants", 10, in{"KeyId": key.Arn})
	if !reflect.DeepEqual(got, []kms.GrantListEntry{want}) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	bare := h.grant(in{"KeyId": key.KeyId, "GranteePrincipal": userARN(account, "alice"), "Operations": []string{"Decrypt"}})
	entry := h.grants(h.call(account), "ListGrants", 10, in{"KeyId": key.KeyId, "GrantId": bare.GrantId})
	if len(entry) != 1 || entry[0].Name != "" || entry[0].Constraints != nil || entry[0].RetiringPrincipal != "" {
		t.Errorf("%+v", entry)
	}
}

func TestGrantNames(t *testing.T) {
	h := newHarness(t)
	key, other := h.createKey(nil), h.createKey(nil)
	request := func(change in) in {
		r := in{"KeyId": key.KeyId, "Name": "n", "GranteePrincipal": "arn:aws:iam::111122223333:root", "Operations": []string{"Encrypt", "Decrypt"}}
		for name, value := range change {
			r[name] = value
		}
		return r
	}
	first := h.grant(request(nil))
	for name, change := range map[string]in{
		"the same": nil, "another order": {"Operations": []string{"Decrypt", "Encrypt", "Decrypt"}},
		"by ARN": {"KeyId": key.Arn}, "with a token": {"GrantTokens": []string{first.GrantToken}},
	} {
		again := h.grant(request(change))
		if again.GrantId != first.GrantId || again.GrantToken == first.GrantToken {
			t.Errorf("%s: grant %s, and the same token is %v", name, again.GrantId, again.GrantToken == first.GrantToken)
		}
	}
	_, err := h.invoke("CreateGrant", request(in{"DryRun": true}))
	wantError(t, err, kms.DryRunOperationException, "The request would have succeeded, but the DryRun option is set.")
	for name, change := range map[string]in{
		"no name": {"Name": ""}, "another name": {"Name": "m"}, "other operations": {"Operations": []string{"Decrypt"}},
		"a constraint": {"Constraints": in{"EncryptionContextEquals": in{"a": "b"}}}, "another key": {"KeyId": other.KeyId},
		"who retires": {"RetiringPrincipal": "arn:aws:iam::111122223333:root"},
	} {
		r := request(change)
		if r["Name"] == "" {
			delete(r, "Name")
		}
		if made := h.grant(r); made.GrantId == first.GrantId {
			t.Errorf("%s: the same grant", name)
		}
	}
	h.must("RevokeGrant", in{"KeyId": key.KeyId, "GrantId": first.GrantId})
	if again := h.grant(request(nil)); again.GrantId == first.GrantId {
		t.Error("a revoked grant came back")
	}
	if n := len(h.grants(h.call(account), "ListGrants", 100, in{"KeyId": key.KeyId})); n != 6 {
		t.Errorf("the key has %d grants", n)
	}
}

// TestGrantNamesAtOnce: requests that are repeated at the same time make one grant.
func TestGrantNamesAtOnce(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	ids := make([]string, 8)
	var wait sync.WaitGroup
	for i := range ids {
		wait.Go(func() {
			out, err := h.invoke("CreateGrant", in{"KeyId": key.KeyId, "Name": "n", "GranteePrincipal": "arn:aws:iam::111122223333:root", "Operations": []string{"Encrypt"}})
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = out.(*kms.CreateGrantResponse).GrantId
		})
	}
	wait.Wait()
	if got := idsOf(h.grants(h.call(account), "ListGrants", 10, in{"KeyId": key.KeyId})); len(got) != 1 || slices.ContainsFunc(ids, func(id string) bool { return id != got[0] }) {
		t.Errorf("answers %v, grants %v", ids, got)
	}
}

func TestListGrants(t *testing.T) {
	h := newHarness(t)
	h.users(account, "alice", "bob")
	key, other := h.createKey(nil), h.createKey(nil)
	var toAlice, toBob, toService, retiredByBob []string
	for i := range 7 {
		made := h.grant(in{"KeyId": key.KeyId, "GranteePrincipal": userARN(account, "alice"), "Operations": []string{"Decrypt"}})
		toAlice = append(toAlice, made.GrantId)
		if i < 3 {
			made := h.grant(in{"KeyId": key.KeyId, "GranteePrincipal": userARN(account, "bob"), "RetiringPrincipal": userARN(account, "bob"), "Operations": []string{"Decrypt"}})
			toBob, retiredByBob = append(toBob, made.GrantId), append(retiredByBob, made.GrantId)
		}
	}
	made := h.grant(in{"KeyId": key.KeyId, "GranteeServicePrincipal": "rds.amazonaws.com", "RetiringServicePrincipal": "rds.amazonaws.com",
		"Operations": []string{"Decrypt"}, "Constraints": in{"SourceArn": "arn:aws:rds:us-east-1:111122223333:db:x"}})
	toService = append(toService, made.GrantId)
	made = h.grant(in{"KeyId": other.KeyId, "GranteePrincipal": userARN(account, "alice"), "RetiringPrincipal": userARN(account, "bob"), "Operations": []string{"Decrypt"}})
	retiredByBob = append(retiredByBob, made.GrantId)
	// A key of another account may name bob too.
	theirs, err := h.invokeAs(h.call(stranger), "CreateKey", kms.CreateKeyRequest{})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := h.invokeAs(h.call(stranger), "CreateGrant", in{"KeyId": theirs.(*kms.CreateKeyResponse).KeyMetadata.KeyId,
		"GranteePrincipal": userARN(stranger, "eve"), "RetiringPrincipal": userARN(account, "bob"), "Operations": []string{"Decrypt"}})
	if err != nil {
		t.Fatal(err)
	}
	retiredByBob = append(retiredByBob, answer.(*kms.CreateGrantResponse).GrantId)

	root := h.call(account)
	all := slices.Concat(toAlice, toBob, toService)
	for _, limit := range []int{1, 2, 100} {
		for _, c := range []struct {
			op      string
			request in
			want    []string
		}{
			{"ListGrants", in{"KeyId": key.KeyId}, all},
			{"ListGrants", in{"KeyId": key.Arn, "GranteePrincipal": userARN(account, "alice")}, toAlice},
			{"ListGrants", in{"KeyId": key.Arn, "GranteePrincipal": userARN(account, "alic")}, nil},
			{"ListGrants", in{"KeyId": key.Arn, "GranteeServicePrincipal": "rds.amazonaws.com"}, toService},
			{"ListGrants", in{"KeyId": key.Arn, "GrantId": toBob[0]}, toBob[:1]},
			{"ListGrants", in{"KeyId": key.Arn, "GrantId": toBob[0], "GranteePrincipal": userARN(account, "alice")}, nil},
			{"ListGrants", in{"KeyId": other.Arn, "GrantId": toBob[0]}, nil},
			{"ListRetirableGrants", in{"RetiringPrincipal": userARN(account, "bob")}, retiredByBob},
			{"ListRetirableGrants", in{"RetiringPrincipal": userARN(account, "alice")}, nil},
			{"ListRetirableGrants", in{"RetiringServicePrincipal": "rds.amazonaws.com"}, toService},
		} {
			slices.Sort(c.want)
			if got := idsOf(h.grants(root, c.op, limit, c.request)); !slices.Equal(got, c.want) {
				t.Errorf("%s %v by %d: %v, want %v", c.op, c.request, limit, got, c.want)
			}
		}
	}
	if got := h.must("ListGrants", in{"KeyId": key.KeyId}).(*kms.ListGrantsResponse); len(got.Grants) != len(all) || got.Truncated {
		t.Errorf("a page of %d, truncated %v", len(got.Grants), got.Truncated)
	}
	if got := h.grants(h.call(stranger), "ListRetirableGrants", 10, in{"RetiringServicePrincipal": "rds.amazonaws.com"}); len(got) != 0 {
		t.Errorf("another account's grants of a service: %v", got)
	}
}

func TestEndOfGrants(t *testing.T) {
	h := newHarness(t)
	h.users(account, "alice", "bob", "carol")
	h.users(stranger, "eve")
	key := h.createKey(nil)
	const denied = "User: %s is not authorized to perform: kms:%s on resource: %s because no identity-based policy allows the kms:%[2]s action"
	fresh := func(operations ...string) *kms.CreateGrantResponse {
		return h.grant(in{"KeyId": key.KeyId, "GranteePrincipal": userARN(account, "alice"), "RetiringPrincipal": userARN(stranger, "eve"),
			"Operations": append(operations, "Decrypt")})
	}
	deny := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"kms:RetireGrant","Resource":"*"}]}`
	for _, c := range []struct {
		name  string
		call  *Call
		grant *kms.CreateGrantResponse
		text  string // of AccessDeniedException; "" if the call is allowed
	}{
		{"the retiring principal, of another account", h.userCall(stranger, "eve"), fresh(), ""},
		{"the grantee without RetireGrant", h.userCall(account, "alice"), fresh(), fmt.Sprintf(denied, userARN(account, "alice"), "RetireGrant", key.Arn)},
		{"the grantee with RetireGrant", h.userCall(account, "alice"), fresh("RetireGrant"), ""},
		{"the account", h.call(account), fresh(), ""},
		{"somebody of the account", h.userCall(account, "carol"), fresh(), fmt.Sprintf(denied, userARN(account, "carol"), "RetireGrant", key.Arn)},
		{"a delegate of the account", h.userCall(account, "carol", grantAll), fresh(), ""},
		{"another account", h.call(stranger), fresh(), notSeen("arn:aws:iam::444455556666:root", "RetireGrant").text},
		{"the grantee, denied", h.userCall(account, "alice", deny), fresh("RetireGrant"),
			"User: " + userARN(account, "alice") + " is not authorized to perform: kms:RetireGrant on resource: " + key.Arn + " with an explicit deny in an identity-based policy"},
	} {
		for _, request := range []in{{"GrantToken": c.grant.GrantToken}, {"KeyId": key.Arn, "GrantId": c.grant.GrantId}} {
			request["DryRun"] = true
			_, err := h.invokeAs(c.call, "RetireGrant", request)
			if c.text != "" {
				wantError(t, err, kms.AccessDeniedException, c.text)
			} else {
				wantError(t, err, kms.DryRunOperationException, "The request would have succeeded, but the DryRun option is set.")
			}
			delete(request, "DryRun")
		}
		out, err := h.invokeAs(c.call, "RetireGrant", in{"GrantToken": c.grant.GrantToken})
		if (err == nil) != (c.text == "") || out != nil {
			t.Errorf("%s: %v, %v", c.name, out, err)
		}
		gone := len(h.grants(h.call(account), "ListGrants", 1, in{"KeyId": key.KeyId, "GrantId": c.grant.GrantId})) == 0
		if gone != (c.text == "") {
			t.Errorf("%s: the grant is gone: %v", c.name, gone)
		}
		if gone {
			_, err := h.invokeAs(h.call(account), "RetireGrant", in{"GrantToken": c.grant.GrantToken})
			wantError(t, err, kms.NotFoundException, "Grant ID "+c.grant.GrantId+" not found")
			_, err = h.invokeAs(h.userCall(stranger, "eve"), "RetireGrant", in{"KeyId": key.Arn, "GrantId": c.grant.GrantId})
			if !strings.Contains(fmt.Sprint(err), "the resource does not exist in this Region") {
				t.Errorf("another account learns of a missing grant: %v", err)
			}
		}
	}

	grant := fresh("RetireGrant")
	for _, call := range []*Call{h.userCall(account, "alice"), h.userCall(account, "bob"), h.userCall(stranger, "eve", grantAll)} {
		_, err := h.invokeAs(call, "RevokeGrant", in{"KeyId": key.Arn, "GrantId": grant.GrantId})
		if kms.AsError(err).Code != kms.AccessDeniedException {
			t.Errorf("%s revokes: %v", call.Caller.Principal.ARN, err)
		}
	}
	_, err := h.invoke("RevokeGrant", in{"KeyId": key.KeyId, "GrantId": grant.GrantId, "DryRun": true})
	wantError(t, err, kms.DryRunOperationException, "The request would have succeeded, but the DryRun option is set.")
	if out, err := h.invokeAs(h.userCall(account, "carol", grantAll), "RevokeGrant", in{"KeyId": key.KeyId, "GrantId": grant.GrantId}); out != nil || err != nil {
		t.Errorf("RevokeGrant: %v, %v", out, err)
	}
	_, err = h.invoke("RevokeGrant", in{"KeyId": key.KeyId, "GrantId": grant.GrantId})
	wantError(t, err, kms.NotFoundException, "Grant ID "+grant.GrantId+" not found")
}
