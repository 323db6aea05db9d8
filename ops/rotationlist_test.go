package ops

import (
	"reflect"
	"testing"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

func TestListKeyRotations(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	list := func(request in) *kms.ListKeyRotationsResponse {
		t.Helper()
		request["KeyId"] = key.Arn
		return h.must("ListKeyRotations", request).(*kms.ListKeyRotationsResponse)
	}
	if got := list(in{}); len(got.Rotations) != 0 || got.Truncated || got.NextMarker != "" {
		t.Errorf("a new key's rotations: %+v", got)
	}
	first := kms.RotationsListEntry{KeyId: key.KeyId, KeyMaterialId: key.CurrentKeyMaterialId, KeyMaterialState: kms.KeyMaterialStateCurrent}
	if got := h.allMaterial(key.KeyId); len(got) != 1 || got[0] != first {
		t.Errorf("a new key's material: %+v, want %+v", got, first)
	}

	h.must("EnableKeyRotation", in{"KeyId": key.KeyId, "RotationPeriodInDays": 90})
	first.KeyMaterialState = kms.KeyMaterialStateNonCurrent
	all := []kms.RotationsListEntry{first}
	rotated := func(why kms.RotationType) {
		t.Helper()
		all = append(all, kms.RotationsListEntry{KeyId: key.KeyId, KeyMaterialId: h.describe(key.KeyId).CurrentKeyMaterialId,
			KeyMaterialState: kms.KeyMaterialStateNonCurrent, RotationDate: kms.TimestampOf(h.clock.Now()), RotationType: why})
	}
	for range 3 {
		h.clock.Advance(time.Hour)
		h.must("RotateKeyOnDemand", in{"KeyId": key.KeyId})
		rotated(kms.RotationTypeOnDemand)
		h.clock.Advance(90 * day)
		h.runDue(1)
		rotated(kms.RotationTypeAutomatic)
	}
	all[6].KeyMaterialState = kms.KeyMaterialStateCurrent

	for _, c := range []struct {
		include string
		want    []kms.RotationsListEntry
	}{{"", all[1:]}, {"ROTATIONS_ONLY", all[1:]}, {"ALL_KEY_MATERIAL", all}} {
		for _, limit := range []int{1, 2, 3, 5, 6, 7, 1000} {
			var got []kms.RotationsListEntry
			marker := ""
			for {
				request := in{"Limit": limit}
				if c.include != "" {
					request["IncludeKeyMaterial"] = c.include
				}
				if marker != "" {
					request["Marker"] = marker
				}
				page := list(request)
				if page.Truncated != (page.NextMarker != "") || len(page.Rotations) > limit || page.Truncated && len(page.Rotations) < limit {
					t.Fatalf("%q, limit %d: %+v", c.include, limit, page)
				}
				got = append(got, page.Rotations...)
				if marker = page.NextMarker; marker == "" {
					break
				}
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("%q, limit %d\ngot  %+v\nwant %+v", c.include, limit, got, c.want)
			}
		}
	}

	for limit, text := range map[int]string{
		0:    "1 validation error detected: Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1",
		1001: "1 validation error detected: Value '1001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 1000",
	} {
		_, err := h.invoke("ListKeyRotations", in{"KeyId": key.KeyId, "Limit": limit})
		wantError(t, err, kms.ValidationException, text)
	}
	for _, bad := range []string{"x", marker("ListKeys", "0000000001"), marker("ListKeyRotations", "1"), marker("ListKeyRotations", "000000000x"), marker("ListKeyRotations", "9999999999")} {
		_, err := h.invoke("ListKeyRotations", in{"KeyId": key.KeyId, "Marker": bad})
		wantError(t, err, kms.InvalidMarkerException, "The marker is not valid.")
	}
}

// TestListKeyRotationsDefault: a page has 100 entries unless the request says otherwise.
func TestListKeyRotationsDefault(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	h.editRecord(key.KeyId, func(r *keystore.KeyRecord) {
		for range 101 {
			m := r.Materials[len(r.Materials)-1]
			m.Ordinal++
			m.Rotated, m.RotationType = h.clock.Now(), kms.RotationTypeAutomatic
			r.Materials = append(r.Materials, m)
			r.Current = m.Ordinal
		}
	})
	got := h.must("ListKeyRotations", in{"KeyId": key.KeyId}).(*kms.ListKeyRotationsResponse)
	if len(got.Rotations) != 100 || !got.Truncated {
		t.Errorf("a page has %d entries, truncated: %t", len(got.Rotations), got.Truncated)
	}
	rest := h.must("ListKeyRotations", in{"KeyId": key.KeyId, "Marker": got.NextMarker}).(*kms.ListKeyRotationsResponse)
	if len(rest.Rotations) != 1 || rest.Truncated || rest.Rotations[0].KeyMaterialState != kms.KeyMaterialStateCurrent {
		t.Errorf("the second page: %+v", rest)
	}
}

// TestListImportedMaterial: imported material that is away keeps its place.
func TestListImportedMaterial(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	expiry := h.clock.Now().Add(30 * day)
	h.editRecord(key.KeyId, func(r *keystore.KeyRecord) {
		r.Origin, r.State = kms.OriginTypeExternal, kms.KeyStatePendingImport
		away := keystore.KeyMaterial{Material: kms.Material{ID: "ab", Ordinal: 1, Created: r.Created}, Description: "lost",
			ExpirationModel: kms.ExpirationModelTypeKeyMaterialExpires, ValidTo: h.clock.Now()}
		there := r.Materials[0]
		there.Ordinal, there.Rotated, there.RotationType = 2, h.clock.Now(), kms.RotationTypeOnDemand
		there.ExpirationModel, there.ValidTo = kms.ExpirationModelTypeKeyMaterialExpires, expiry
		r.Materials, r.Current = []keystore.KeyMaterial{away, there}, 2
	})
	want := []kms.RotationsListEntry{
		{KeyId: key.KeyId, KeyMaterialId: "ab", KeyMaterialDescription: "lost", ImportState: kms.ImportStatePendingImport,
			KeyMaterialState: kms.KeyMaterialStateNonCurrent},
		{KeyId: key.KeyId, KeyMaterialId: key.CurrentKeyMaterialId, ImportState: kms.ImportStateImported,
			KeyMaterialState: kms.KeyMaterialStateCurrent, ExpirationModel: kms.ExpirationModelTypeKeyMaterialExpires,
			ValidTo: kms.TimestampOf(expiry), RotationDate: kms.TimestampOf(h.clock.Now()), RotationType: kms.RotationTypeOnDemand},
	}
	if got := h.allMaterial(key.KeyId); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
