package ops

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/kms"
)

// wantMaterial wants a key to list materials: "id state import-state".
func (s site) wantMaterial(keyID string, want ...string) {
	s.t.Helper()
	var got []string
	out := s.get("ListKeyRotations", in{"KeyId": keyID, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"}).(*kms.ListKeyRotationsResponse)
	for _, m := range out.Rotations {
		got = append(got, fmt.Sprint(m.KeyMaterialId[:8], " ", m.KeyMaterialState, " ", m.ImportState))
	}
	if !slices.Equal(got, want) {
		s.t.Errorf("materials in %s\n%q, want\n%q", s.region, got, want)
	}
}

var secondWaits = regexp.MustCompile(`^KMSInvalidStateException: New key material \(id: [0-9a-f]{64}\) cannot be imported into `)

var newMaterial = in{"ImportType": "NEW_KEY_MATERIAL"}

// TestImportSeveral: a symmetric key can have several imported materials, one of which may wait.
func TestImportSeveral(t *testing.T) {
	h := newHarness(t)
	us := h.at(testRegion)
	key := h.external(nil)
	first, second, third := randomMaterial(32), randomMaterial(32), randomMaterial(32)
	is := func(id, states string) string { return id[:8] + " " + states }

	const algorithm = "RSAES_OAEP_SHA_256"
	p := us.parameters(key.KeyId, algorithm, "RSA_2048")
	bring := func(material []byte, more in) (string, error) {
		t.Helper()
		if !p.ParametersValidTo.After(h.clock.Now()) {
			p = us.parameters(key.KeyId, algorithm, "RSA_2048")
		}
		out, err := us.try("ImportKeyMaterial", us.wrapped(p, key.KeyId, algorithm, material, more))
		if err != nil {
			return "", err
		}
		return out.(*kms.ImportKeyMaterialResponse).KeyMaterialId, nil
	}
	mustBring := func(material []byte, more in) string {
		t.Helper()
		id, err := bring(material, more)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	a := mustBring(first, newMaterial)
	old := us.encrypt(key.KeyId, "old")
	_, err := bring(first, newMaterial)
	wantIncorrect(t, err)
	_, err = bring(second, nil) // which means the old one, once there is one
	wantIncorrect(t, err)
	b := mustBring(second, newMaterial)
	us.wantMaterial(key.KeyId, is(a, "CURRENT IMPORTED"), is(b, "PENDING_ROTATION IMPORTED"))
	if m := h.describe(key.KeyId); m.CurrentKeyMaterialId != a || !m.Enabled {
		t.Errorf("the key is %+v", m)
	}
	_, err = bring(second, newMaterial)
	wantIncorrect(t, err)
	_, err = bring(third, newMaterial)
	if got := kms.AsError(err); !secondWaits.MatchString(got.Error()) || !strings.HasSuffix(got.Message, "KMS key "+key.Arn+", because another key material (id: "+b+") is pending rotation.") {
		t.Errorf("a second one that waits: %v", err)
	}
	mustBring(second, in{"KeyMaterialId": b}) // again, and still waiting
	us.wantMaterial(key.KeyId, is(a, "CURRENT IMPORTED"), is(b, "PENDING_ROTATION IMPORTED"))

	// What waits can be withdrawn without a trace, and expires without harm.
	if out := h.must("DeleteImportedKeyMaterial", in{"KeyId": key.KeyId, "KeyMaterialId": b}).(*kms.DeleteImportedKeyMaterialResponse); out.KeyMaterialId != b {
		t.Errorf("deleted %s", out.KeyMaterialId)
	}
	us.wantMaterial(key.KeyId, is(a, "CURRENT IMPORTED"))
	day := 24 * time.Hour
	mustBring(third, in{"ImportType": "NEW_KEY_MATERIAL", "ExpirationModel": "KEY_MATERIAL_EXPIRES", "ValidTo": float64(h.clock.Now().Add(day).Unix())})
	if m := h.describe(key.KeyId); m.ExpirationModel != kms.ExpirationModelTypeKeyMaterialDoesNotExpire || !m.ValidTo.IsZero() {
		t.Errorf("what waits shows in %s, %s", m.ExpirationModel, m.ValidTo)
	}
	h.clock.Advance(day)
	_, err = h.invoke("RotateKeyOnDemand", in{"KeyId": key.KeyId})
	wantError(t, err, kms.KMSInvalidStateException, "No available key material pending rotation for the key: "+key.Arn+".")
	us.wantMaterial(key.KeyId, is(a, "CURRENT IMPORTED"))
	h.runDue(1)
	us.wantMaterial(key.KeyId, is(a, "CURRENT IMPORTED"))
	us.wantOpens(key.KeyId, old, "old")

	mustBring(second, newMaterial)
	h.must("RotateKeyOnDemand", in{"KeyId": key.KeyId})
	us.wantMaterial(key.KeyId, is(a, "NON_CURRENT IMPORTED"), is(b, "CURRENT IMPORTED"))
	young := us.encrypt(key.KeyId, "young")
	us.wantOpens(key.KeyId, young, "young")
	us.wantOpens(key.KeyId, old, "old")

	// An old one that is missing stops the key, and nothing but that one starts it again.
	h.must("DeleteImportedKeyMaterial", in{"KeyId": key.KeyId, "KeyMaterialId": a})
	us.wantMaterial(key.KeyId, is(a, "NON_CURRENT PENDING_IMPORT"), is(b, "CURRENT IMPORTED"))
	_, err = h.invoke("Decrypt", in{"CiphertextBlob": young})
	wantError(t, err, kms.KMSInvalidStateException, key.Arn+" is pending import.")
	mustBring(second, nil)
	if m := h.describe(key.KeyId); m.KeyState != kms.KeyStatePendingImport || m.ExpirationModel != "" {
		t.Errorf("the key is %+v", m)
	}
	_, err = bring(first, in{"KeyMaterialId": b})
	wantIncorrect(t, err)
	mustBring(first, in{"ExpirationModel": "KEY_MATERIAL_EXPIRES", "ValidTo": float64(h.clock.Now().Add(2 * day).Unix())})
	mustBring(second, in{"ExpirationModel": "KEY_MATERIAL_EXPIRES", "ValidTo": float64(h.clock.Now().Add(day).Unix())})
	if m := h.describe(key.KeyId); !m.Enabled || !m.ValidTo.Equal(h.clock.Now().Add(day)) {
		t.Errorf("the key expires at %s", m.ValidTo)
	}
	us.wantOpens(key.KeyId, old, "old")
	h.must("DeleteImportedKeyMaterial", in{"KeyId": key.KeyId})
	us.wantMaterial(key.KeyId, is(a, "NON_CURRENT IMPORTED"), is(b, "CURRENT PENDING_IMPORT"))
}

// TestImportInRegions: material comes to the primary key first, then by itself to each replica.
func TestImportInRegions(t *testing.T) {
	h := newHarness(t)
	us, eu := h.at(testRegion), h.at(ireland)
	key := h.external(in{"MultiRegion": true})
	first, second := randomMaterial(32), randomMaterial(32)
	is := func(id, states string) string { return id[:8] + " " + states }
	a := us.mustBring(key.KeyId, first, in{"KeyMaterialDescription": "of the primary"})
	h.must("ReplicateKey", in{"KeyId": key.KeyId, "ReplicaRegion": ireland})
	eu.wantMaterial(key.KeyId, is(a, "CURRENT PENDING_IMPORT"))
	_, err := eu.bring(key.KeyId, second, nil)
	wantIncorrect(t, err)
	_, err = eu.bring(key.KeyId, first, newMaterial)
	wantError(t, err, kms.UnsupportedOperationException, eu.arn(key.KeyId)+" is not a multi-region primary key.")
	_, err = eu.try("ImportKeyMaterial", us.importing(key.KeyId, "RSAES_OAEP_SHA_256", "RSA_2048", first, nil))
	if kms.AsError(err).Code != kms.InvalidImportTokenException {
		t.Errorf("the token of another Region: %v", err)
	}
	if id := eu.mustBring(key.KeyId, first, nil); id != a {
		t.Errorf("the material is %s here and %s there", a, id)
	}
	eu.wantOpens(key.KeyId, us.encrypt(key.KeyId, "x"), "x")
	us.wantOpens(key.KeyId, eu.encrypt(key.KeyId, "y"), "y")

	b := us.mustBring(key.KeyId, second, newMaterial)
	us.wantMaterial(key.KeyId, is(a, "CURRENT IMPORTED"), is(b, "PENDING_MULTI_REGION_IMPORT_AND_ROTATION IMPORTED"))
	eu.wantMaterial(key.KeyId, is(a, "CURRENT IMPORTED"), is(b, "PENDING_MULTI_REGION_IMPORT_AND_ROTATION PENDING_IMPORT"))
	if m := eu.metadata(key.KeyId); !m.Enabled {
		t.Errorf("what waits makes the replica %s", m.KeyState)
	}
	// Withdrawn in the replica it waits on; in the primary key it is gone everywhere.
	eu.mustBring(key.KeyId, second, nil)
	us.wantMaterial(key.KeyId, is(a, "CURRENT IMPORTED"), is(b, "PENDING_ROTATION IMPORTED"))
	eu.get("DeleteImportedKeyMaterial", in{"KeyId": key.KeyId, "KeyMaterialId": b})
	eu.wantMaterial(key.KeyId, is(a, "CURRENT IMPORTED"), is(b, "PENDING_MULTI_REGION_IMPORT_AND_ROTATION PENDING_IMPORT"))
	us.get("DeleteImportedKeyMaterial", in{"KeyId": key.KeyId, "KeyMaterialId": b})
	us.wantMaterial(key.KeyId, is(a, "CURRENT IMPORTED"))
	eu.wantMaterial(key.KeyId, is(a, "CURRENT IMPORTED"))

	us.mustBring(key.KeyId, second, newMaterial)
	eu.mustBring(key.KeyId, second, nil)
	us.get("RotateKeyOnDemand", in{"KeyId": key.KeyId})
	for _, s := range []site{us, eu} {
		s.wantMaterial(key.KeyId, is(a, "NON_CURRENT IMPORTED"), is(b, "CURRENT IMPORTED"))
	}
	us.wantOpens(key.KeyId, eu.encrypt(key.KeyId, "z"), "z")
	us.get("DeleteImportedKeyMaterial", in{"KeyId": key.KeyId})
	if here, there := us.metadata(key.KeyId), eu.metadata(key.KeyId); here.Enabled || !there.Enabled {
		t.Errorf("the primary key is %s, the replica %s", here.KeyState, there.KeyState)
	}
	if d := us.record(key.KeyId).Materials[0].Description + eu.record(key.KeyId).Materials[0].Description; d != "of the primaryof the primary" {
		t.Errorf("descriptions %q", d)
	}
}
