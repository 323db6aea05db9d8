package ops

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// withTokens gives Regions of a harness tokens of their own, and starts its service anew.
func (h *harness) withTokens(regions ...string) *harness {
	h.t.Helper()
	hsmtest.Require(h.t, hsmtest.WrappedEC) // of which a domain's transfer key is one
	domains := map[string]*hsm.Domain{}
	for _, region := range regions {
		domains[region] = hsmtest.Domain(h.t)
	}
	return h.withDomains(domains)
}

func (h *harness) withDomains(domains map[string]*hsm.Domain) *harness {
	h.t.Helper()
	h.regions = domains
	for _, d := range append([]*hsm.Domain{h.domain}, valuesOf(domains)...) {
		if err := d.MakeTransferKey(h.t.Context()); err != nil {
			h.t.Fatal(err)
		}
	}
	h.service = h.newService()
	return h
}

func valuesOf(domains map[string]*hsm.Domain) (all []*hsm.Domain) {
	for _, d := range domains {
		all = append(all, d)
	}
	return all
}

// wantDomain wants all material of a key to be in one domain, or the last so many to be.
func (s site) wantDomain(keyID string, d *hsm.Domain) {
	s.t.Helper()
	for _, m := range s.record(keyID).Materials {
		if m.Domain != d.ID() || len(m.Blob) == 0 {
			s.t.Errorf("in %s material %d is one of domain %s", s.region, m.Ordinal, m.Domain)
		}
	}
}

// wantShared wants related keys to have the same materials but for where they are.
func (h *harness) wantShared(keyID string, regions ...string) {
	h.t.Helper()
	bare := func(region string) []keystore.KeyMaterial {
		r := h.at(region).record(keyID).Clone()
		for i := range r.Materials {
			m := &r.Materials[i]
			m.Domain, m.DomainKey, m.Wrap, m.Blob = "", 0, "", nil
		}
		return r.Materials
	}
	for _, region := range regions[1:] {
		if a, b := bare(regions[0]), bare(region); !reflect.DeepEqual(a, b) {
			h.t.Errorf("in %s the key has\n%+v, in %s\n%+v", regions[0], a, region, b)
		}
	}
}

// TestRegionTokensEveryKind replicates a key of every spec and usage to a Region with a token of its own
// and uses it on both sides.
func TestRegionTokensEveryKind(t *testing.T) {
	h := newHarness(t).withTokens(ireland)
	here, eu := h.at(testRegion), h.at(ireland)
	tested := 0
	for _, row := range kindRows() {
		// The larger RSA keys, which take long to make, sign only: the tests of package hsm have them
		// decrypt.
		slow := row.usage == encryptDecrypt && (row.spec == "RSA_3072" || row.spec == "RSA_4096")
		if row.lacking != "" || row.spec == "ECC_NIST_EDWARDS25519" || row.spec == "SM2" || slow { // some tokens do not wrap these
			continue
		}
		if family := h.domain.CanReceive(kms.KeySpec(row.spec)); family != nil && strings.HasPrefix(row.spec, "ML_") {
			t.Log(family)
			continue
		}
		key := h.multiKey(in{"KeySpec": row.spec, "KeyUsage": row.usage}, ireland)
		here.wantDomain(key.KeyId, h.domain)
		eu.wantDomain(key.KeyId, h.regions[ireland])
		h.wantShared(key.KeyId, testRegion, ireland)
		there := eu.metadata(key.KeyId)
		if there.CurrentKeyMaterialId != key.CurrentKeyMaterialId || there.KeyState != kms.KeyStateEnabled {
			t.Errorf("%s: the replica is %s with material %s", row.spec, there.KeyState, there.CurrentKeyMaterialId)
		}
		for _, algorithm := range row.algorithms {
			bothUse(t, here, eu, key.KeyId, row.kind, algorithm)
			bothUse(t, eu, here, key.KeyId, row.kind, algorithm)
		}
		tested++
	}
	if tested < 15 {
		t.Errorf("%d kinds of keys were tested", tested)
	}
}

// bothUse makes something with a key in one Region and uses it in another.
func bothUse(t *testing.T, one, other site, keyID string, k kind, algorithm string) {
	t.Helper()
	message := []byte("m")
	switch k.usage {
	case encryptDecrypt:
		blob := one.get("Encrypt", in{"KeyId": keyID, "Plaintext": message, "EncryptionAlgorithm": algorithm}).(*kms.EncryptResponse).CiphertextBlob
		out := other.get("Decrypt", in{"KeyId": keyID, "CiphertextBlob": blob, "EncryptionAlgorithm": algorithm}).(*kms.DecryptResponse)
		if !bytes.Equal(out.Plaintext, message) || out.KeyId != other.arn(keyID) {
			t.Errorf("%s: %d bytes under %s", algorithm, len(out.Plaintext), out.KeyId)
		}
	case signVerify:
		request := in{"KeyId": keyID, "Message": message, "SigningAlgorithm": algorithm}
		request["Signature"] = one.get("Sign", request).(*kms.SignResponse).Signature
		other.get("Verify", request)
	case generateVerify:
		request := in{"KeyId": keyID, "Message": message, "MacAlgorithm": algorithm}
		request["Mac"] = one.get("GenerateMac", request).(*kms.GenerateMacResponse).Mac
		other.get("VerifyMac", request)
	case keyAgreement:
		public := one.get("GetPublicKey", in{"KeyId": keyID}).(*kms.GetPublicKeyResponse).PublicKey
		request := in{"KeyId": keyID, "KeyAgreementAlgorithm": algorithm, "PublicKey": public}
		ours := one.get("DeriveSharedSecret", request).(*kms.DeriveSharedSecretResponse).SharedSecret
		if theirs := other.get("DeriveSharedSecret", request).(*kms.DeriveSharedSecretResponse).SharedSecret; !bytes.Equal(ours, theirs) {
			t.Errorf("%s: the shared secrets differ", algorithm)
		}
	case encapsulate:
		made := one.get("Encapsulate", in{"KeyId": keyID, "EncapsulationAlgorithm": algorithm}).(*kms.EncapsulateResponse)
		out := other.get("Decapsulate", in{"KeyId": keyID, "EncapsulationAlgorithm": algorithm, "SharedSecretCiphertextBlob": made.SharedSecretCiphertextBlob}).(*kms.DecapsulateResponse)
		if !bytes.Equal(out.SharedSecret, made.SharedSecret) {
			t.Errorf("%s: the shared secrets differ", algorithm)
		}
	default:
		t.Errorf("a usage that nothing is tested for: %s", k.usage)
	}
}

// TestRegionTokensRotation: every Region gets new material with the rotation, from whichever Region is
// the primary key's, and all versions open everywhere, after a restart too.
func TestRegionTokensRotation(t *testing.T) {
	h := newHarness(t).withTokens(ireland, oregon)
	regions := []string{testRegion, ireland, oregon}
	key := h.multiKey(nil, ireland)
	var blobs [][]byte
	seal := func() {
		for _, region := range regions[:len(h.at(testRegion).record(key.KeyId).MultiRegion.ReplicaRegions)+1] {
			blobs = append(blobs, h.at(region).encrypt(key.KeyId, "text"))
		}
	}
	seal()
	h.must("RotateKeyOnDemand", in{"KeyId": key.KeyId})
	seal()
	h.must("ReplicateKey", in{"KeyId": key.KeyId, "ReplicaRegion": oregon}) // with both versions
	seal()
	h.must("UpdatePrimaryRegion", in{"KeyId": key.KeyId, "PrimaryRegion": ireland})
	h.at(ireland).get("RotateKeyOnDemand", in{"KeyId": key.KeyId}) // made by another token than the first
	seal()
	h.at(ireland).get("EnableKeyRotation", in{"KeyId": key.KeyId, "RotationPeriodInDays": 90})
	h.clock.Advance(91 * day)
	h.runDue(1)
	seal()
	for range 2 {
		for _, region := range regions {
			here := h.at(region)
			for i, blob := range blobs {
				if out := here.get("Decrypt", in{"CiphertextBlob": blob}).(*kms.DecryptResponse); string(out.Plaintext) != "text" {
					t.Errorf("in %s blob %d is another text", region, i)
				}
			}
			if n := len(here.record(key.KeyId).Materials); n != 4 {
				t.Errorf("in %s the key has %d materials", region, n)
			}
		}
		h.at(testRegion).wantDomain(key.KeyId, h.domain)
		for region, d := range h.regions {
			h.at(region).wantDomain(key.KeyId, d)
		}
		h.wantShared(key.KeyId, regions...)
		h.restart()
	}
}

// TestRegionTokensMadeThere: what is made in a Region with a token of its own is made in that token, and
// no other token opens it.
func TestRegionTokensMadeThere(t *testing.T) {
	h := newHarness(t).withTokens(ireland)
	eu := h.at(ireland)
	id := eu.get("CreateKey", in{}).(*kms.CreateKeyResponse).KeyMetadata.KeyId
	eu.wantDomain(id, h.regions[ireland])
	blob := eu.encrypt(id, "text")
	eu.wantOpens(id, blob, "text")
	if n := len(eu.get("GenerateRandom", in{"NumberOfBytes": 32}).(*kms.GenerateRandomResponse).Plaintext); n != 32 {
		t.Errorf("%d random bytes", n)
	}
	pair := eu.get("GenerateDataKeyPair", in{"KeyId": id, "KeyPairSpec": "ECC_NIST_P256"}).(*kms.GenerateDataKeyPairResponse)
	eu.wantOpens(id, pair.PrivateKeyCiphertextBlob, string(pair.PrivateKeyPlaintext))
	other := h.createKey(nil)
	moved := eu.get("ReEncrypt", in{"CiphertextBlob": blob, "DestinationKeyId": id}).(*kms.ReEncryptResponse)
	eu.wantOpens(id, moved.CiphertextBlob, "text")

	// A blob of one token in the place of another's is refused, whatever domain it is said to be one of.
	foreign := h.at(testRegion).record(other.KeyId).Materials[0].Material
	for _, domain := range []string{foreign.Domain, h.regions[ireland].ID(), "", strings.Repeat("0", 32)} {
		eu.edit(id, func(r *keystore.KeyRecord) {
			r.Materials[0].Material = foreign
			r.Materials[0].ID = strings.Repeat("ab", 16) + r.Materials[0].ID[:16] + domain[:min(16, len(domain))]
			r.Materials[0].Domain = domain
		})
		_, err := eu.try("Encrypt", in{"KeyId": id, "Plaintext": []byte("x")})
		if works := domain == foreign.Domain || domain == ""; works != (err == nil) {
			t.Errorf("material that is said to be one of domain %q: %v", domain, err)
		}
	}

	// A key that stays in its token is destroyed in that token.
	if !hsmtest.Has(hsmtest.Resident) {
		return
	}
	resident := eu.get("CreateKey", in{"KeySpec": "ECC_NIST_EDWARDS25519", "KeyUsage": signVerify}).(*kms.CreateKeyResponse).KeyMetadata.KeyId
	material := eu.record(resident).Materials[0].Material
	if len(material.ObjectID) == 0 || material.Domain != h.regions[ireland].ID() {
		t.Fatalf("the key is %+v", material)
	}
	eu.get("ScheduleKeyDeletion", in{"KeyId": resident, "PendingWindowInDays": 7})
	h.clock.Advance(8 * day)
	h.runDue(2) // the record, then the object
	_, err := h.regions[ireland].Sign(t.Context(), &material, kms.KeySpecEccNistEdwards25519, kms.SigningAlgorithmSpecEd25519Sha512, hsm.SignInput{Message: []byte("x")})
	if !errors.Is(err, hsm.ErrNotFound) {
		t.Errorf("the deleted key signs: %v", err)
	}
}

// TestRegionTokensImport: material is imported in each Region by its own token, and has the same id.
func TestRegionTokensImport(t *testing.T) {
	h := newHarness(t).withTokens(ireland)
	here, eu := h.at(testRegion), h.at(ireland)
	key := h.external(in{"MultiRegion": true})
	material := bytes.Repeat([]byte{0x5a}, 32)
	first := here.mustBring(key.KeyId, material, nil)
	h.must("ReplicateKey", in{"KeyId": key.KeyId, "ReplicaRegion": ireland})
	_, err := eu.try("Encrypt", in{"KeyId": key.KeyId, "Plaintext": []byte("x")})
	wantError(t, err, kms.KMSInvalidStateException, eu.arn(key.KeyId)+" is pending import.")
	if second := eu.mustBring(key.KeyId, material, nil); second != first {
		t.Errorf("the material is %s here and %s there", first, second)
	}
	here.wantDomain(key.KeyId, h.domain)
	eu.wantDomain(key.KeyId, h.regions[ireland])
	eu.wantOpens(key.KeyId, here.encrypt(key.KeyId, "text"), "text")
	here.wantOpens(key.KeyId, eu.encrypt(key.KeyId, "text"), "text")
	// An import token is good in its Region only, and its pair in its token only.
	sealed := here.parameters(key.KeyId, "RSAES_OAEP_SHA_256", "RSA_2048").ImportToken
	_, err = eu.try("ImportKeyMaterial", in{"KeyId": key.KeyId, "ImportToken": sealed, "EncryptedKeyMaterial": make([]byte, 256), "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"})
	if kms.AsError(err).Code != kms.InvalidImportTokenException {
		t.Errorf("an import token of another Region: %v", err)
	}
	// Deleted there, it is there here.
	eu.get("DeleteImportedKeyMaterial", in{"KeyId": key.KeyId})
	if m := eu.record(key.KeyId).Materials[0]; m.Domain != "" || m.Present() {
		t.Errorf("deleted material is one of domain %s", m.Domain)
	}
	here.wantOpens(key.KeyId, here.encrypt(key.KeyId, "text"), "text")
	if got := eu.metadata(key.KeyId).EncryptionAlgorithms; len(got) != 1 {
		t.Errorf("the replica lists %v", got)
	}
}

// TestRegionTokensAdded: a Region gets tokens of its own when it has keys already. They go on with the
// material that they have; what is new comes to the new token.
func TestRegionTokensAdded(t *testing.T) {
	h := newHarness(t)
	eu := h.at(ireland)
	single := eu.get("CreateKey", in{}).(*kms.CreateKeyResponse).KeyMetadata.KeyId
	multi := h.multiKey(nil, ireland)
	// As a program wrote it that knew one domain only.
	for _, s := range []site{eu, h.at(testRegion)} {
		s.edit(multi.KeyId, func(r *keystore.KeyRecord) { r.Materials[0].Domain = "" })
	}
	eu.edit(single, func(r *keystore.KeyRecord) { r.Materials[0].Domain = "" })
	old := eu.encrypt(single, "old")
	shared := eu.encrypt(multi.KeyId, "old")
	h.withTokens(ireland)
	h.restart()
	eu = h.at(ireland)
	eu.wantOpens(single, old, "old")
	eu.wantOpens(multi.KeyId, shared, "old")
	eu.get("RotateKeyOnDemand", in{"KeyId": single})
	h.must("RotateKeyOnDemand", in{"KeyId": multi.KeyId})
	for _, id := range []string{single, multi.KeyId} {
		r := eu.record(id)
		if r.Materials[0].Domain != "" || r.Materials[1].Domain != h.regions[ireland].ID() {
			t.Errorf("the materials are in %q and %q", r.Materials[0].Domain, r.Materials[1].Domain)
		}
		eu.wantOpens(id, eu.encrypt(id, "new"), "new")
	}
	eu.wantOpens(single, old, "old")
	eu.wantOpens(multi.KeyId, shared, "old")
	h.at(testRegion).wantOpens(multi.KeyId, eu.encrypt(multi.KeyId, "new"), "new")
	// A replica gets both, wherever each is, and one that is where it has to be stays.
	eu.get("RotateKeyOnDemand", in{"KeyId": eu.get("CreateKey", in{"MultiRegion": true}).(*kms.CreateKeyResponse).KeyMetadata.KeyId})
	h.must("UpdatePrimaryRegion", in{"KeyId": multi.KeyId, "PrimaryRegion": ireland})
	eu.get("ReplicateKey", in{"KeyId": multi.KeyId, "ReplicaRegion": oregon})
	us := h.at(oregon)
	if r := us.record(multi.KeyId); r.Materials[0].Domain != "" || r.Materials[1].Domain != h.domain.ID() {
		t.Errorf("the replica's materials are in %q and %q", r.Materials[0].Domain, r.Materials[1].Domain)
	}
	us.wantOpens(multi.KeyId, shared, "old")
	us.wantOpens(multi.KeyId, eu.encrypt(multi.KeyId, "new"), "new")
}

// TestRegionTokensDown: the tokens of a Region are away. Its keys wait for them, other Regions go on, and
// what needs both changes nothing.
func TestRegionTokensDown(t *testing.T) {
	hsmtest.Require(t, hsmtest.WrappedEC) // of which a domain's transfer key is one
	uri := hsmtest.NewURI(t)
	token := hsmtest.Open(t, hsm.Config{URI: uri})
	away := hsmtest.Domain(t, token)
	h := newHarness(t).withDomains(map[string]*hsm.Domain{ireland: away})
	here, eu := h.at(testRegion), h.at(ireland)
	multi := h.multiKey(nil, ireland)
	lone := h.multiKey(nil)
	blob := here.encrypt(multi.KeyId, "text")
	if err := h.service.RegionHealth(t.Context(), ireland); err != nil {
		t.Fatal(err)
	}
	if err := token.Close(); err != nil {
		t.Fatal(err)
	}
	const unavailable = "The request was rejected because the specified KMS key was not available. You can retry the request."
	check := func() {
		t.Helper()
		for op, request := range map[string]in{
			"Encrypt":         {"KeyId": multi.KeyId, "Plaintext": []byte("x")},
			"Decrypt":         {"CiphertextBlob": blob},
			"GenerateDataKey": {"KeyId": multi.KeyId, "KeySpec": "AES_256"},
			"GenerateRandom":  {"NumberOfBytes": 8},
		} {
			_, err := eu.try(op, request)
			wantError(t, err, kms.KeyUnavailableException, unavailable)
		}
		before := h.revision()
		_, err := h.invoke("RotateKeyOnDemand", in{"KeyId": multi.KeyId})
		wantError(t, err, kms.KeyUnavailableException, unavailable)
		_, err = h.invoke("ReplicateKey", in{"KeyId": lone.KeyId, "ReplicaRegion": ireland})
		if kms.AsError(err).Code != kms.KMSInternalException || !errors.Is(err, hsm.ErrTokenDown) {
			t.Errorf("ReplicateKey to a token that is down: %v", err)
		}
		if after := h.revision(); after != before {
			t.Errorf("what failed wrote %d times", after-before)
		}
		here.wantOpens(multi.KeyId, blob, "text")
		here.wantOpens(multi.KeyId, here.encrypt(multi.KeyId, "more"), "more")
		eu.metadata(multi.KeyId)
		h.must("ReplicateKey", in{"KeyId": h.multiKey(nil).KeyId, "ReplicaRegion": oregon})
		if err := h.service.Health(t.Context()); err != nil {
			t.Errorf("the other Regions are unhealthy: %v", err)
		}
		if err := h.service.RegionHealth(t.Context(), ireland); !errors.Is(err, hsm.ErrTokenDown) {
			t.Errorf("the health of %s: %v", ireland, err)
		}
		if got := h.service.Regions(t.Context()); len(got) != 1 || got[0].Region != ireland || got[0].Healthy || got[0].Problem == "" {
			t.Errorf("the Regions are %+v", got)
		}
	}
	check()
	// A server that starts without them.
	h.regions = map[string]*hsm.Domain{ireland: nil}
	h.restart()
	here, eu = h.at(testRegion), h.at(ireland)
	check()
	// They are back.
	back, err := hsm.OpenDomain(t.Context(), []*hsm.Token{hsmtest.Open(t, hsm.Config{URI: uri})}, away.Describe())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = back.Close() })
	h.service.OpenRegion(ireland, back)
	eu.wantOpens(multi.KeyId, blob, "text")
	h.must("RotateKeyOnDemand", in{"KeyId": multi.KeyId})
	eu.wantOpens(multi.KeyId, here.encrypt(multi.KeyId, "rotated"), "rotated")
	if got := h.service.Regions(t.Context()); len(got) != 1 || !got[0].Healthy || got[0].Domain != away.ID() {
		t.Errorf("the Regions are %+v", got)
	}
}

// TestRegionTokensCut ends requests between the transfer and the write.
func TestRegionTokensCut(t *testing.T) {
	h := newHarness(t).withTokens(ireland)
	here := h.at(testRegion)
	key := h.multiKey(nil)
	blob := here.encrypt(key.KeyId, "text")
	record := here.record(key.KeyId)
	copies := moved{}
	if err := h.service.transferToReplica(t.Context(), keyOf(record), ireland, copies); err != nil {
		t.Fatal(err)
	}
	h.restart() // as if the process had ended here
	if _, err := h.at(ireland).try("DescribeKey", in{"KeyId": key.KeyId}); kms.AsError(err).Code != kms.NotFoundException {
		t.Errorf("a replica that was never written: %v", err)
	}
	h.must("ReplicateKey", in{"KeyId": key.KeyId, "ReplicaRegion": ireland})
	h.at(ireland).wantOpens(key.KeyId, blob, "text")

	// A rotation whose transaction does not come.
	stop := errors.New("cut")
	k := keyOf(here.record(key.KeyId))
	err := h.service.rotate(t.Context(), h.service.serviceCall("RotateKey", k.KeyRecord), k, h.clock.Now(), func(*keystore.Tx) (*keystore.KeyRecord, error) { return nil, stop }, kms.RotationTypeOnDemand)
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.service.rotate(cancelled, h.service.serviceCall("RotateKey", k.KeyRecord), k, h.clock.Now(), func(*keystore.Tx) (*keystore.KeyRecord, error) { return nil, stop }, kms.RotationTypeOnDemand); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n := len(here.record(key.KeyId).Materials); n != 1 {
		t.Errorf("the key has %d materials", n)
	}
	h.wantShared(key.KeyId, testRegion, ireland)
}

// TestRegionTokensMeanwhile: a replica is made between the transfer of a rotation and its transaction, and
// a rotation between the transfer of a replication and its transaction. Neither Region lacks anything.
func TestRegionTokensMeanwhile(t *testing.T) {
	h := newHarness(t).withTokens(ireland, oregon)
	here := h.at(testRegion)
	key := h.multiKey(nil, ireland)
	k := keyOf(here.record(key.KeyId)) // with one replica
	h.must("ReplicateKey", in{"KeyId": key.KeyId, "ReplicaRegion": oregon})
	runs := 0
	err := h.service.rotate(t.Context(), h.service.serviceCall("RotateKey", k.KeyRecord), k, h.clock.Now().UTC(), func(tx *keystore.Tx) (*keystore.KeyRecord, error) {
		runs++
		r, err := tx.Key(k.KeyID())
		if err != nil {
			return nil, err
		}
		return r.Clone(), nil
	}, kms.RotationTypeOnDemand)
	if err != nil || runs != 2 { // the first one lacked the new replica's copy
		t.Fatalf("%d runs, %v", runs, err)
	}
	newest := here.encrypt(key.KeyId, "newest")
	for _, region := range []string{ireland, oregon} {
		h.at(region).wantOpens(key.KeyId, newest, "newest")
	}
	h.wantShared(key.KeyId, testRegion, ireland, oregon)

	// What is transferred for a replication is what the key had when it began.
	other := h.multiKey(nil)
	old := keyOf(here.record(other.KeyId))
	copies := moved{}
	if err := h.service.transferToReplica(t.Context(), old, ireland, copies); err != nil {
		t.Fatal(err)
	}
	h.must("RotateKeyOnDemand", in{"KeyId": other.KeyId})
	runs = 0
	err = h.service.withTransfers(t.Context(), h.service.serviceCall("RotateKey", old.KeyRecord), old.KeyRecord, copies, func(tx *keystore.Tx) error {
		runs++
		current, err := tx.Key(old.KeyID())
		if err != nil {
			return err
		}
		replica := replicaOf(current, &keystore.KeyRecord{Region: ireland, Created: h.clock.Now(), Policy: current.Policy})
		if err := h.service.settleMaterials(replica, copies); err != nil {
			return err
		}
		if err := tx.CreateKey(replica); err != nil {
			return err
		}
		return tellRelatives(tx, replica)
	})
	if err != nil || runs != 2 {
		t.Fatalf("%d runs, %v", runs, err)
	}
	h.at(ireland).wantOpens(other.KeyId, here.encrypt(other.KeyId, "newest"), "newest")
}

// TestRegionTokensRefused: a Region whose tokens cannot use a key's material gets no replica.
func TestRegionTokensRefused(t *testing.T) {
	lacks := !hsmtest.Has(hsmtest.SP800108)
	h := newHarness(t).withTokens(ireland)
	key := h.multiKey(nil)
	h.at(testRegion).edit(key.KeyId, func(r *keystore.KeyRecord) { r.Materials[0].Scheme = kms.DeriveSP800108 })
	_, err := h.invoke("ReplicateKey", in{"KeyId": key.KeyId, "ReplicaRegion": ireland})
	if e := kms.AsError(err); lacks && (e.Code != kms.UnsupportedOperationException || !strings.Contains(e.Message, `derivation scheme sp800-108`)) {
		t.Errorf("a scheme that the token does not have: %v", err)
	}
	external := h.external(in{"MultiRegion": true})
	h.at(testRegion).mustBring(external.KeyId, randomMaterial(32), nil)
	h.at(testRegion).edit(external.KeyId, func(r *keystore.KeyRecord) { r.Materials[0].Scheme = kms.DeriveSP800108 })
	_, err = h.invoke("ReplicateKey", in{"KeyId": external.KeyId, "ReplicaRegion": ireland})
	if lacks && kms.AsError(err).Code != kms.UnsupportedOperationException {
		t.Errorf("an imported key of such a scheme: %v", err)
	}
	_, err = h.at(ireland).try("CreateKey", in{"MultiRegion": true, "KeySpec": "ECC_NIST_EDWARDS25519", "KeyUsage": signVerify})
	if hsmtest.Has(hsmtest.Resident) && kms.AsError(err).Code != kms.UnsupportedOperationException {
		t.Errorf("a multi-Region key that lives in its token: %v", err)
	}
}

// TestRegionTokensAgree: rotations, replications and changes of the primary Region at the same time leave
// Regions that agree.
func TestRegionTokensAgree(t *testing.T) {
	h := newHarness(t).withTokens(ireland)
	key := h.multiKey(nil)
	here := h.at(testRegion)
	done := make(chan error, 3)
	go func() {
		_, err := here.try("ReplicateKey", in{"KeyId": key.KeyId, "ReplicaRegion": ireland})
		done <- err
	}()
	go func() {
		_, err := here.try("ReplicateKey", in{"KeyId": key.KeyId, "ReplicaRegion": oregon})
		done <- err
	}()
	go func() {
		var err error
		for range 3 {
			if _, e := here.try("RotateKeyOnDemand", in{"KeyId": key.KeyId}); e != nil {
				err = e
			}
		}
		done <- err
	}()
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	h.wantShared(key.KeyId, testRegion, ireland, oregon)
	for _, from := range []string{testRegion, ireland, oregon} {
		blob := h.at(from).encrypt(key.KeyId, from)
		for _, to := range []string{testRegion, ireland, oregon} {
			h.at(to).wantOpens(key.KeyId, blob, from)
		}
	}
	if n := len(here.record(key.KeyId).Materials); n != 4 {
		t.Errorf("the key has %d materials", n)
	}
}
