package ops

import (
	"bytes"
	"crypto/aes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"hash"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
)

// parameters asks for an import token and a public key.
func (s site) parameters(keyID, algorithm, pair string) *kms.GetParametersForImportResponse {
	s.t.Helper()
	return s.get("GetParametersForImport", in{"KeyId": keyID, "WrappingAlgorithm": algorithm, "WrappingKeySpec": pair}).(*kms.GetParametersForImportResponse)
}

// importing is a request to import material, wrapped out here. more adds to it or overrides it.
func (s site) importing(keyID, algorithm, pair string, material []byte, more in) in {
	s.t.Helper()
	return s.wrapped(s.parameters(keyID, algorithm, pair), keyID, algorithm, material, more)
}

// wrapped is importing with parameters that are there already.
func (s site) wrapped(p *kms.GetParametersForImportResponse, keyID, algorithm string, material []byte, more in) in {
	s.t.Helper()
	request := in{"KeyId": keyID, "ImportToken": p.ImportToken, "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
		"EncryptedKeyMaterial": wrapFor(s.t, p.PublicKey, algorithm, material)}
	for name, value := range more {
		request[name] = value
	}
	return request
}

// bring imports a symmetric material.
func (s site) bring(keyID string, material []byte, more in) (*kms.ImportKeyMaterialResponse, error) {
	s.t.Helper()
	out, err := s.try("ImportKeyMaterial", s.importing(keyID, "RSAES_OAEP_SHA_256", "RSA_2048", material, more))
	if err != nil {
		return nil, err
	}
	return out.(*kms.ImportKeyMaterialResponse), nil
}

func (s site) mustBring(keyID string, material []byte, more in) string {
	s.t.Helper()
	out, err := s.bring(keyID, material, more)
	if err != nil {
		s.t.Fatalf("ImportKeyMaterial in %s: %v", s.region, err)
	}
	if out.KeyId != s.arn(keyID) {
		s.t.Errorf("ImportKeyMaterial names %s", out.KeyId)
	}
	return out.KeyMaterialId
}

// external makes a key that waits for material.
func (h *harness) external(request in) *kms.KeyMetadata {
	h.t.Helper()
	all := in{"Origin": "EXTERNAL"}
	for name, value := range request {
		all[name] = value
	}
	return h.createKey(all)
}

func randomMaterial(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // crypto/rand never fails
	return b
}

// wrapFor wraps material with nothing but the standard library.
func wrapFor(t testing.TB, spki []byte, algorithm string, material []byte) []byte {
	t.Helper()
	key, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		t.Fatal(err)
	}
	newHash := map[bool]func() hash.Hash{true: sha256.New, false: sha1.New}[strings.HasSuffix(algorithm, "SHA_256")]
	oaep := func(message []byte) []byte {
		out, err := rsa.EncryptOAEP(newHash(), rand.Reader, key.(*rsa.PublicKey), message, nil)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if strings.HasPrefix(algorithm, "RSAES_OAEP") {
		return oaep(material)
	}
	ephemeral := randomMaterial(32)
	return append(oaep(ephemeral), keyWrapPad(t, ephemeral, material)...)
}

// keyWrapPad is RFC 5649, section 4.1, for keys of more than 8 bytes.
func keyWrapPad(t testing.TB, kek, key []byte) []byte {
	t.Helper()
	cipher, err := aes.NewCipher(kek)
	if err != nil {
		t.Fatal(err)
	}
	a := binary.BigEndian.AppendUint32([]byte{0xa6, 0x59, 0x59, 0xa6}, uint32(len(key)))
	r := append(bytes.Clone(key), make([]byte, (8-len(key)%8)%8)...)
	for step := uint64(1); step <= uint64(6*len(r)/8); step++ {
		at := int((step-1)*8) % len(r)
		block := append(bytes.Clone(a), r[at:at+8]...)
		cipher.Encrypt(block, block)
		binary.BigEndian.PutUint64(a, binary.BigEndian.Uint64(block)^step)
		copy(r[at:], block[8:])
	}
	return append(a, r...)
}

// TestImportLife follows one key from its creation to the end of its material and back.
func TestImportLife(t *testing.T) {
	h := newHarness(t)
	us := h.at(testRegion)
	key := h.external(nil)
	if key.KeyState != kms.KeyStatePendingImport || key.Enabled || key.Origin != kms.OriginTypeExternal || key.ExpirationModel != "" || key.CurrentKeyMaterialId != "" {
		t.Errorf("the new key is %+v", key)
	}
	pending := func(operation string, request any) {
		t.Helper()
		_, err := h.invoke(operation, request)
		wantError(t, err, kms.KMSInvalidStateException, key.Arn+" is pending import.")
	}
	encrypt := in{"KeyId": key.KeyId, "Plaintext": []byte("x")}
	pending("Encrypt", encrypt)
	pending("EnableKey", in{"KeyId": key.KeyId})
	pending("RotateKeyOnDemand", in{"KeyId": key.KeyId})
	if out := h.must("DeleteImportedKeyMaterial", in{"KeyId": key.KeyId}).(*kms.DeleteImportedKeyMaterialResponse); out.KeyId != key.Arn || out.KeyMaterialId != "" {
		t.Errorf("deleting nothing gives %+v", out)
	}

	p := us.parameters(key.KeyId, "RSAES_OAEP_SHA_1", "RSA_2048")
	if p.KeyId != key.Arn || !p.ParametersValidTo.Equal(h.clock.Now().Add(24*time.Hour)) {
		t.Errorf("GetParametersForImport gives %s, %s", p.KeyId, p.ParametersValidTo)
	}
	if len(p.ImportToken) > 6144 {
		t.Errorf("an import token of %d bytes is too long for the API", len(p.ImportToken))
	}
	again := us.parameters(key.KeyId, "RSAES_OAEP_SHA_1", "RSA_2048")
	if bytes.Equal(p.PublicKey, again.PublicKey) {
		t.Error("two calls give the same key")
	}

	material := randomMaterial(32)
	validTo := h.clock.Now().Add(100 * 24 * time.Hour)
	id := us.mustBring(key.KeyId, material, in{"ExpirationModel": "KEY_MATERIAL_EXPIRES", "ValidTo": float64(validTo.Unix()), "KeyMaterialDescription": "first"})
	m := h.describe(key.KeyId)
	if !m.Enabled || m.KeyState != kms.KeyStateEnabled || m.ExpirationModel != kms.ExpirationModelTypeKeyMaterialExpires || !m.ValidTo.Equal(validTo) || m.CurrentKeyMaterialId != id {
		t.Errorf("the key with its material is %+v", m)
	}
	sealed := us.encrypt(key.KeyId, "sealed")
	us.wantOpens(key.KeyId, sealed, "sealed")

	// The same again, to change when it expires; the description stays.
	if got := us.mustBring(key.KeyId, material, nil); got != id {
		t.Errorf("the same material has the id %s, then %s", id, got)
	}
	if m := h.describe(key.KeyId); m.ExpirationModel != kms.ExpirationModelTypeKeyMaterialDoesNotExpire || !m.ValidTo.IsZero() {
		t.Errorf("the key says %s, %s", m.ExpirationModel, m.ValidTo)
	}
	if all := h.allMaterial(key.KeyId); len(all) != 1 || all[0].KeyMaterialDescription != "first" || all[0].ImportState != kms.ImportStateImported {
		t.Errorf("materials %+v", all)
	}
	_, err := us.bring(key.KeyId, randomMaterial(32), nil)
	wantIncorrect(t, err)

	for range 2 {
		out := h.must("DeleteImportedKeyMaterial", in{"KeyId": key.KeyId}).(*kms.DeleteImportedKeyMaterialResponse)
		if out.KeyId != key.Arn || out.KeyMaterialId != id {
			t.Errorf("DeleteImportedKeyMaterial gives %+v", out)
		}
		m = h.describe(key.KeyId)
		if m.Enabled || m.KeyState != kms.KeyStatePendingImport || m.CurrentKeyMaterialId != id || m.ExpirationModel != "" {
			t.Errorf("the key without its material is %+v", m)
		}
		pending("Encrypt", encrypt)
		pending("Decrypt", in{"CiphertextBlob": sealed})
	}
	h.restart()
	us = h.at(testRegion)
	pending("Decrypt", in{"CiphertextBlob": sealed})
	_, err = us.bring(key.KeyId, randomMaterial(32), nil)
	wantIncorrect(t, err)
	if got := us.mustBring(key.KeyId, material, in{"KeyMaterialId": id, "ImportType": "EXISTING_KEY_MATERIAL"}); got != id {
		t.Errorf("the id is %s, then %s", id, got)
	}
	us.wantOpens(key.KeyId, sealed, "sealed")
	if other := us.mustBring(h.external(nil).KeyId, material, nil); other == id {
		t.Error("the same material has the same id in another key")
	}

	// A disabled key stays so, one that loses its material waits for it even when it is not deleted.
	h.must("DisableKey", in{"KeyId": key.KeyId})
	us.mustBring(key.KeyId, material, nil)
	if m := h.describe(key.KeyId); m.KeyState != kms.KeyStateDisabled {
		t.Errorf("an import makes a disabled key %s", m.KeyState)
	}
	h.must("ScheduleKeyDeletion", in{"KeyId": key.KeyId, "PendingWindowInDays": 7})
	h.must("DeleteImportedKeyMaterial", in{"KeyId": key.KeyId})
	if m := h.describe(key.KeyId); m.KeyState != kms.KeyStatePendingDeletion {
		t.Errorf("the key is %s", m.KeyState)
	}
	for op, request := range map[string]in{
		"GetParametersForImport": {"KeyId": key.KeyId, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"},
		"ImportKeyMaterial":      {"KeyId": key.KeyId, "ImportToken": []byte("x"), "EncryptedKeyMaterial": []byte("x"), "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"},
	} {
		_, err := h.invoke(op, request)
		wantError(t, err, kms.KMSInvalidStateException, key.Arn+" is pending deletion.")
	}
	h.must("CancelKeyDeletion", in{"KeyId": key.KeyId})
	pending("Encrypt", encrypt)
	us.mustBring(key.KeyId, material, nil)
	us.wantOpens(key.KeyId, sealed, "sealed")
}

func wantIncorrect(t testing.TB, err error) {
	t.Helper()
	wantError(t, err, kms.IncorrectKeyMaterialException,
		"The request was rejected because the key material in the request is, expired, invalid, or is not the same key material that was previously imported into this KMS key.")
}

// TestImportedMaterialExpires: at its time the material is gone for every node, whether or not one
// of them was there to take it away.
func TestImportedMaterialExpires(t *testing.T) {
	h := newHarness(t)
	us := h.at(testRegion)
	key, material := h.external(nil), randomMaterial(32)
	day := 24 * time.Hour
	expires := func(after time.Duration) in {
		return in{"ExpirationModel": "KEY_MATERIAL_EXPIRES", "ValidTo": float64(h.clock.Now().Add(after).Unix())}
	}
	id := us.mustBring(key.KeyId, material, expires(day))
	sealed := us.encrypt(key.KeyId, "sealed")
	gone := func() {
		t.Helper()
		for op, request := range map[string]in{"Decrypt": {"CiphertextBlob": sealed}, "Encrypt": {"KeyId": key.KeyId, "Plaintext": []byte("x")}} {
			_, err := h.invoke(op, request)
			wantError(t, err, kms.KMSInvalidStateException, key.Arn+" is pending import.")
		}
		if m := h.describe(key.KeyId); m.KeyState != kms.KeyStatePendingImport || m.CurrentKeyMaterialId != id || m.ExpirationModel != "" || !m.ValidTo.IsZero() {
			t.Errorf("the key is %+v", m)
		}
	}
	h.runDue(0)
	h.clock.Advance(day - time.Millisecond)
	h.runDue(0)
	us.wantOpens(key.KeyId, sealed, "sealed")
	h.clock.Advance(time.Millisecond)
	gone() // before anybody has taken it away
	h.restart()
	us = h.at(testRegion)
	gone()
	if m := us.record(key.KeyId).Materials[0]; !m.Present() {
		t.Error("the material is gone before the scheduler came")
	}
	h.runDue(1)
	gone()
	if m := us.record(key.KeyId).Materials[0]; m.Present() || m.ID != id {
		t.Errorf("the record still has it: %+v", m)
	}
	h.runDue(0)

	// It comes back with another time, which the first one does not cut short.
	us.mustBring(key.KeyId, material, expires(day))
	us.mustBring(key.KeyId, material, expires(3*day))
	h.clock.Advance(2 * day)
	h.runDue(0)
	us.wantOpens(key.KeyId, sealed, "sealed")
	h.must("ScheduleKeyDeletion", in{"KeyId": key.KeyId, "PendingWindowInDays": 7})
	h.clock.Advance(2 * day)
	h.runDue(1)
	if m := us.record(key.KeyId); m.Materials[0].Present() || m.State != kms.KeyStatePendingDeletion {
		t.Errorf("a key pending deletion whose material expired is %s", m.State)
	}
	h.must("CancelKeyDeletion", in{"KeyId": key.KeyId})
	gone()
}

// TestImportRefused: what a request can do wrong.
func TestImportRefused(t *testing.T) {
	h := newHarness(t)
	us := h.at(testRegion)
	key, own := h.external(nil), h.createKey(nil)
	hmacKey := h.external(in{"KeySpec": "HMAC_256", "KeyUsage": generateVerify})
	good := us.importing(key.KeyId, "RSAES_OAEP_SHA_1", "RSA_2048", randomMaterial(32), nil)
	with := func(more in) in {
		request := in{}
		for name, value := range good {
			request[name] = value
		}
		for name, value := range more {
			if request[name] = value; value == nil {
				delete(request, name)
			}
		}
		return request
	}
	damaged := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 1
		return b
	}
	token, blob := good["ImportToken"].([]byte), good["EncryptedKeyMaterial"].([]byte)
	unix := func(at time.Time) float64 { return float64(at.Unix()) }
	now := h.clock.Now()
	const badToken = "The request was rejected because the provided import token is invalid or is associated with a different KMS key."
	const incorrect = "The request was rejected because the key material in the request is, expired, invalid, or is not the same key material that was previously imported into this KMS key."
	for _, c := range []struct {
		name    string
		request in
		code    kms.ErrorCode
		message string
	}{
		{"no time", with(in{"ExpirationModel": nil}), kms.ValidationException, "A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES"},
		{"now", with(in{"ExpirationModel": nil, "ValidTo": unix(now)}), kms.ValidationException, "ValidTo must be in the future"},
		{"far", with(in{"ExpirationModel": nil, "ValidTo": unix(now.Add(365*24*time.Hour + time.Second))}), kms.ValidationException, "ValidTo must be no later than 365 days from now"},
		{"time without need", with(in{"ValidTo": unix(now.Add(time.Hour))}), kms.ValidationException, "ValidTo can only be set if the ExpirationModel is KEY_MATERIAL_EXPIRES"},
		{"own material", with(in{"KeyId": own.KeyId}), kms.UnsupportedOperationException, own.Arn + " origin is AWS_KMS which is not valid for this operation."},
		{"garbage token", with(in{"ImportToken": []byte("garbage")}), kms.InvalidImportTokenException, badToken},
		{"damaged token", with(in{"ImportToken": damaged(token, 40)}), kms.InvalidImportTokenException, badToken},
		{"token of another key", with(in{"KeyId": hmacKey.KeyId}), kms.InvalidImportTokenException, badToken},
		{"unknown sealing key", with(in{"ImportToken": damaged(token, 3)}), kms.InvalidImportTokenException, badToken},
		{"damaged material", with(in{"EncryptedKeyMaterial": damaged(blob, 100)}), kms.InvalidCiphertextException, ""},
		{"short material", with(in{"EncryptedKeyMaterial": blob[1:]}), kms.InvalidCiphertextException, ""},
		{"long material", with(in{"EncryptedKeyMaterial": append(bytes.Clone(blob), 0)}), kms.InvalidCiphertextException, ""},
		{"impossible value", with(in{"EncryptedKeyMaterial": bytes.Repeat([]byte{0xff}, 256)}), kms.InvalidCiphertextException, ""},
		{"wrapped to another pair", with(in{"EncryptedKeyMaterial": us.importing(key.KeyId, "RSAES_OAEP_SHA_1", "RSA_2048", randomMaterial(32), nil)["EncryptedKeyMaterial"]}), kms.InvalidCiphertextException, ""},
		{"another hash", us.importing(key.KeyId, "RSAES_OAEP_SHA_256", "RSA_2048", randomMaterial(32), in{"ImportToken": token}), kms.InvalidCiphertextException, ""},
		{"31 bytes", us.importing(key.KeyId, "RSAES_OAEP_SHA_1", "RSA_2048", randomMaterial(31), nil), kms.IncorrectKeyMaterialException, incorrect},
		{"33 bytes", us.importing(key.KeyId, "RSAES_OAEP_SHA_256", "RSA_2048", randomMaterial(33), nil), kms.IncorrectKeyMaterialException, incorrect},
		{"existing", with(in{"ImportType": "EXISTING_KEY_MATERIAL"}), kms.IncorrectKeyMaterialException, incorrect},
		{"id with new", with(in{"ImportType": "NEW_KEY_MATERIAL", "KeyMaterialId": strings.Repeat("a", 64)}), kms.ValidationException,
			"KeyMaterialId cannot be specified when ImportType is NEW_KEY_MATERIAL."},
		{"another id", with(in{"KeyMaterialId": strings.Repeat("a", 64)}), kms.IncorrectKeyMaterialException, incorrect},
		{"type for HMAC", with(in{"KeyId": hmacKey.KeyId, "ImportType": "NEW_KEY_MATERIAL"}), kms.UnsupportedOperationException, "ImportType is not supported for key spec HMAC_256."},
		{"description for HMAC", with(in{"KeyId": hmacKey.KeyId, "KeyMaterialDescription": "x"}), kms.UnsupportedOperationException,
			"KeyMaterialDescription is not supported for key spec HMAC_256."},
		{"id for HMAC", with(in{"KeyId": hmacKey.KeyId, "KeyMaterialId": strings.Repeat("a", 64)}), kms.UnsupportedOperationException,
			"KeyMaterialId is not supported for key spec HMAC_256."},
	} {
		_, err := h.invoke("ImportKeyMaterial", c.request)
		if err == nil {
			t.Errorf("%s: accepted", c.name)
			continue
		}
		t.Run(c.name, func(t *testing.T) { wantError(t, err, c.code, c.message) })
	}
	for _, keyID := range []string{key.KeyId, hmacKey.KeyId} {
		if r := us.record(keyID); r.State != kms.KeyStatePendingImport || len(r.Materials) != 0 {
			t.Errorf("after refusals the key is %s with %d materials", r.State, len(r.Materials))
		}
	}
	h.clock.Advance(24*time.Hour - time.Millisecond)
	h.must("ImportKeyMaterial", good)
	h.clock.Advance(time.Millisecond)
	_, err := h.invoke("ImportKeyMaterial", good)
	wantError(t, err, kms.ExpiredImportTokenException, "The request was rejected because the specified import token is expired.")
	_, err = h.invoke("DeleteImportedKeyMaterial", in{"KeyId": own.KeyId})
	wantError(t, err, kms.UnsupportedOperationException, own.Arn+" origin is AWS_KMS which is not valid for this operation.")
	_, err = h.invoke("DeleteImportedKeyMaterial", in{"KeyId": key.KeyId, "KeyMaterialId": strings.Repeat("a", 64)})
	wantError(t, err, kms.NotFoundException, "Key material '"+strings.Repeat("a", 64)+"' does not exist for the key: "+key.Arn+".")
}

// TestImportParametersRefused holds GetParametersForImport to the table of wrappings.
func TestImportParametersRefused(t *testing.T) {
	hsmtest.Require(t, hsmtest.Secp256k1)
	h := newHarness(t)
	either := "RSAES_OAEP_SHA_1 RSAES_OAEP_SHA_256 RSA_AES_KEY_WRAP_SHA_1 RSA_AES_KEY_WRAP_SHA_256"
	rows := []struct{ spec, usage, allowed string }{
		{"SYMMETRIC_DEFAULT", encryptDecrypt, "RSAES_OAEP_SHA_1 RSAES_OAEP_SHA_256"},
		{"HMAC_224", generateVerify, "RSAES_OAEP_SHA_1 RSAES_OAEP_SHA_256"},
		{"RSA_2048", signVerify, "RSA_AES_KEY_WRAP_SHA_1 RSA_AES_KEY_WRAP_SHA_256"},
		{"ECC_NIST_P384", keyAgreement, either},
		{"ECC_NIST_P521", signVerify, "RSA_AES_KEY_WRAP_SHA_1 RSA_AES_KEY_WRAP_SHA_256"}, // with RSA_2048
		{"ECC_SECG_P256K1", signVerify, either},
		{"ECC_NIST_EDWARDS25519", signVerify, either},
	}
	for _, row := range rows {
		key := h.external(in{"KeySpec": row.spec, "KeyUsage": row.usage})
		for _, algorithm := range strings.Fields(either + " RSAES_PKCS1_V1_5 SM2PKE") {
			_, err := h.invoke("GetParametersForImport", in{"KeyId": key.KeyId, "WrappingAlgorithm": algorithm, "WrappingKeySpec": "RSA_2048"})
			if strings.Contains(" "+row.allowed+" ", " "+algorithm+" ") {
				if frail := strings.HasPrefix(algorithm, "RSA_AES") && !hsmtest.Has(hsmtest.ForeignKWP); frail != (err != nil) {
					t.Errorf("%s by %s: %v", row.spec, algorithm, err)
				}
			} else if kms.AsError(err).Code != kms.UnsupportedOperationException {
				t.Errorf("%s by %s: %v", row.spec, algorithm, err)
			}
		}
		if _, err := h.invoke("GetParametersForImport", in{"KeyId": key.KeyId, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "SM2"}); kms.AsError(err).Code != kms.UnsupportedOperationException {
			t.Errorf("%s to SM2: %v", row.spec, err)
		}
	}
	for _, spec := range []string{"ML_DSA_44", "ML_DSA_65", "ML_DSA_87"} {
		_, err := h.invoke("CreateKey", in{"Origin": "EXTERNAL", "KeySpec": spec, "KeyUsage": signVerify})
		wantError(t, err, kms.UnsupportedOperationException, "KeySpec "+spec+" is not supported for Origin EXTERNAL.")
	}
	own := h.createKey(nil)
	_, err := h.invoke("GetParametersForImport", in{"KeyId": own.KeyId, "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"})
	wantError(t, err, kms.UnsupportedOperationException, own.Arn+" origin is AWS_KMS which is not valid for this operation.")
}
