package ops

import (
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// A use is an operation with a request that succeeds.
type use struct {
	name    string // the operation, except for ReEncrypt: by which of its keys it is looked at
	op      string
	key     *kms.KeyMetadata // the key looked at
	other   *kms.KeyMetadata // the other key of ReEncrypt
	member  string           // the member of the request that names it
	request in
}

// but gives the request with a member changed.
func (u use) but(member string, value any) in {
	request := maps.Clone(u.request)
	request[member] = value
	return request
}

// without gives the request without a member.
func (u use) without(member string) in {
	request := maps.Clone(u.request)
	delete(request, member)
	return request
}

// uses gives a use of each cryptographic operation, and of those that read and edit a key.
func (k *keyring) uses() []use {
	k.t.Helper()
	message := []byte("message")
	other := k.createKey(nil)
	var all []use
	add := func(name string, key *kms.KeyMetadata, member string, request in) {
		request[member] = key.KeyId
		u := use{name: name, op: name, key: key, member: member, request: request}
		if strings.HasPrefix(name, "ReEncrypt") {
			u.op, u.other = "ReEncrypt", other
		}
		all = append(all, u)
	}
	symmetric, rsa := k.symmetric(), k.key("RSA_2048", encryptDecrypt)
	encrypt := func(request in) []byte { return k.must("Encrypt", request).(*kms.EncryptResponse).CiphertextBlob }
	sealed := encrypt(in{"KeyId": symmetric.KeyId, "Plaintext": message})
	foreign := encrypt(in{"KeyId": other.KeyId, "Plaintext": message})
	add("Encrypt", symmetric, "KeyId", in{"Plaintext": message})
	add("Decrypt", symmetric, "KeyId", in{"CiphertextBlob": sealed})
	add("ReEncryptFrom", symmetric, "SourceKeyId", in{"CiphertextBlob": sealed, "DestinationKeyId": other.Arn})
	add("ReEncryptTo", symmetric, "DestinationKeyId", in{"CiphertextBlob": foreign, "SourceKeyId": other.Arn})
	add("GenerateDataKey", symmetric, "KeyId", in{"NumberOfBytes": 32})
	add("GenerateDataKeyWithoutPlaintext", symmetric, "KeyId", in{"KeySpec": "AES_256"})
	add("GenerateDataKeyPair", symmetric, "KeyId", in{"KeyPairSpec": "ECC_NIST_P256"})
	add("GenerateDataKeyPairWithoutPlaintext", symmetric, "KeyId", in{"KeyPairSpec": "ECC_NIST_P256"})
	const oaep = "RSAES_OAEP_SHA_256"
	padded := encrypt(in{"KeyId": rsa.KeyId, "Plaintext": message, "EncryptionAlgorithm": oaep})
	add("Encrypt", rsa, "KeyId", in{"Plaintext": message, "EncryptionAlgorithm": oaep})
	add("Decrypt", rsa, "KeyId", in{"CiphertextBlob": padded, "EncryptionAlgorithm": oaep})
	add("ReEncryptFrom", rsa, "SourceKeyId", in{"CiphertextBlob": padded, "SourceEncryptionAlgorithm": oaep, "DestinationKeyId": other.Arn})
	add("ReEncryptTo", rsa, "DestinationKeyId", in{"CiphertextBlob": foreign, "SourceKeyId": other.Arn, "DestinationEncryptionAlgorithm": oaep})
	signs, macs, agrees := k.key("ECC_NIST_P256", signVerify), k.key("HMAC_256", generateVerify), k.key("ECC_NIST_P256", keyAgreement)
	signing := in{"KeyId": signs.KeyId, "Message": message, "SigningAlgorithm": "ECDSA_SHA_256"}
	add("Sign", signs, "KeyId", maps.Clone(signing))
	signing["Signature"] = k.must("Sign", signing).(*kms.SignResponse).Signature
	add("Verify", signs, "KeyId", signing)
	making := in{"KeyId": macs.KeyId, "Message": message, "MacAlgorithm": "HMAC_SHA_256"}
	add("GenerateMac", macs, "KeyId", maps.Clone(making))
	making["Mac"] = k.must("GenerateMac", making).(*kms.GenerateMacResponse).Mac
	add("VerifyMac", macs, "KeyId", making)
	add("DeriveSharedSecret", agrees, "KeyId", in{"PublicKey": peer(k.t), "KeyAgreementAlgorithm": "ECDH"})
	if kem := k.key("ML_KEM_768", encapsulate); kem != nil && hsmtest.Has(hsmtest.MLKEM) {
		add("Encapsulate", kem, "KeyId", in{"EncapsulationAlgorithm": "ML_KEM"})
		add("Decapsulate", kem, "KeyId", in{"EncapsulationAlgorithm": "ML_KEM", "SharedSecretCiphertextBlob": make([]byte, 1088)})
	}
	add("GetPublicKey", signs, "KeyId", in{})
	add("DescribeKey", symmetric, "KeyId", in{})
	add("EnableKey", symmetric, "KeyId", in{})
	add("DisableKey", symmetric, "KeyId", in{})
	add("UpdateKeyDescription", symmetric, "KeyId", in{"Description": "new"})
	return all
}

// cryptoStates is the Developer Guide's table "Key states" (2026) for the uses: the columns are
// Enabled, Disabled, PendingDeletion, PendingImport, Unavailable, Creating, Updating, and the
// numbers are those of its footnotes. "-" is what cannot be: keys that sign are never in a custom
// key store. Where the guide has two footnotes for a case, the recorded one stands here.
func cryptoStates() map[string]string {
	const encrypting, pairs, signing = "ok 1 3 5 11 14 ok", "ok 1 3 5 7 14 ok", "ok 1 3 5 - 14 ok"
	return map[string]string{
		"Encrypt":                             encrypting,
		"Decrypt":                             encrypting,
		"ReEncryptFrom":                       encrypting,
		"ReEncryptTo":                         encrypting,
		"GenerateDataKey":                     encrypting,
		"GenerateDataKeyWithoutPlaintext":     encrypting,
		"GenerateDataKeyPair":                 pairs,
		"GenerateDataKeyPairWithoutPlaintext": pairs,
		"Sign":                                signing,
		"Verify":                              signing,
		"GenerateMac":                         signing,
		"VerifyMac":                           signing,
		"Encapsulate":                         signing,
		"Decapsulate":                         signing,
		"DeriveSharedSecret":                  signing,
		"GetPublicKey":                        "ok ok 3 ok - 14 ok",
		"DescribeKey":                         "ok ok ok ok ok ok ok",
		"EnableKey":                           "ok ok 3 5 ok 14 15",
		"DisableKey":                          "ok ok 3 5 ok 14 15",
		"UpdateKeyDescription":                "ok ok 3 ok ok ok ok",
	}
}

// footnote is the fault of a footnote of the table, nil for "ok".
func footnote(number, arn string, state kms.KeyState) *fault {
	invalid := func(what string) *fault { return &fault{kms.KMSInvalidStateException, arn + " is " + what + "."} }
	pending := "pending deletion"
	if state == "PendingReplicaDeletion" {
		pending = "pending replica deletion"
	}
	return map[string]*fault{
		"1":  {kms.DisabledException, arn + " is disabled."},
		"3":  invalid(pending),
		"5":  invalid("pending import"),
		"7":  {kms.UnsupportedOperationException, arn + " origin is AWS_CLOUDHSM which is not valid for this operation."},
		"11": invalid("unavailable"),
		"14": invalid("creating"),
		"15": invalid("updating"),
	}[number]
}

// testCryptoStates takes every use through every state of its key.
func testCryptoStates(t *testing.T, k *keyring) {
	table, unused := cryptoStates(), cryptoStates()
	uses := k.uses()
	for _, s := range []struct {
		name   string
		state  kms.KeyState
		column int
		change func(*keystore.KeyRecord)
		except map[string]string // cells that are not as in the table
	}{
		{name: "Enabled", state: "Enabled", column: 0},
		{name: "Disabled", state: "Disabled", column: 1},
		{name: "PendingDeletion", state: "PendingDeletion", column: 2},
		{name: "PendingReplicaDeletion", state: "PendingReplicaDeletion", column: 2},
		{name: "PendingImport", state: "PendingImport", column: 3,
			change: func(r *keystore.KeyRecord) { r.Origin, r.Materials[0].Blob = "EXTERNAL", nil }},
		// The public key of a key that never had material does not exist.
		{name: "PendingImport for the first time", state: "PendingImport", column: 3, except: map[string]string{"GetPublicKey": "5"},
			change: func(r *keystore.KeyRecord) { r.Origin, r.Materials, r.Current = "EXTERNAL", nil, 0 }},
		// No record says Unavailable: it is the state of a custom key store. The rule holds all the same.
		{name: "Unavailable", state: "Unavailable", column: 4, change: func(r *keystore.KeyRecord) { r.Origin = "AWS_CLOUDHSM" }},
		{name: "Creating", state: "Creating", column: 5},
		{name: "Updating", state: "Updating", column: 6},
	} {
		t.Run(s.name, func(t *testing.T) {
			k := k.on(t)
			for _, u := range uses {
				cell := strings.Fields(table[u.name])[s.column]
				delete(unused, u.name)
				if number, ok := s.except[u.name]; ok {
					cell = number
				}
				if cell == "-" {
					continue
				}
				want := footnote(cell, u.key.Arn, s.state)
				if (want == nil) != (cell == "ok") {
					t.Fatalf("no footnote %s", cell)
				}
				k.with(u.key.KeyId, func(r *keystore.KeyRecord) {
					setState(s.state, k.clock.Now())(r)
					if s.change != nil {
						s.change(r)
					}
				}, func() { k.checkState(u, want) })
			}
		})
	}
	if !hsmtest.Has(hsmtest.MLKEM) { // no request for these comes as far as the state
		delete(unused, "Encapsulate")
		delete(unused, "Decapsulate")
	}
	for name := range unused {
		t.Errorf("no use of %s", name)
	}
}

// checkState takes a use through one state, which the key is in.
func (k *keyring) checkState(u use, want *fault) {
	k.t.Helper()
	before := k.describe(u.key.KeyId)
	k.judge(u.op, u.request, want)
	switch u.op {
	case "Decrypt", "ReEncrypt": // the key that the ciphertext names counts as if it were given
		if u.member != "DestinationKeyId" && u.key.KeySpec == kms.KeySpecSymmetricDefault {
			k.judge(u.op, u.without(u.member), want)
		}
	}
	after := k.describe(u.key.KeyId)
	if want == nil {
		switch u.op {
		case "EnableKey", "DisableKey":
			if state := map[string]kms.KeyState{"EnableKey": "Enabled", "DisableKey": "Disabled"}[u.op]; after.KeyState != state {
				k.t.Errorf("%s leaves the key %s", u.op, after.KeyState)
			}
			before.KeyState, before.Enabled = after.KeyState, u.op == "EnableKey"
		case "UpdateKeyDescription":
			before.Description = "new"
		}
	}
	if !reflect.DeepEqual(before, after) {
		k.t.Errorf("%s changes the key from\n%+v to\n%+v", u.name, before, after)
	}
	// What concerns no key works whatever state keys are in.
	if u.op == "DescribeKey" {
		k.allowed("ListKeys", in{"Limit": 1})
		k.allowed("GenerateRandom", in{"NumberOfBytes": 1})
	}
}

// testOrderOfChecks gives requests several faults: the key's identifier counts first, then the
// permission, the usage and the algorithm, the state, the ciphertext, and the dry run last.
func testOrderOfChecks(t *testing.T, k *keyring) {
	symmetric := k.symmetric()
	macs, rsa := k.key("HMAC_256", generateVerify), k.key("RSA_2048", encryptDecrypt)
	disable := func(r *keystore.KeyRecord) { r.State = kms.KeyStateDisabled }
	forbid := func(r *keystore.KeyRecord) {
		disable(r)
		r.Policy = `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*"}}`
	}
	denied := func(action, arn string) *fault {
		return &fault{kms.AccessDeniedException, "User: arn:aws:iam::" + account + ":root is not authorized to perform: kms:" + action +
			" on resource: " + arn + " with an explicit deny in a resource-based policy"}
	}
	garbled := k.must("Encrypt", in{"KeyId": symmetric.KeyId, "Plaintext": []byte("x")}).(*kms.EncryptResponse).CiphertextBlob
	garbled[len(garbled)-1] ^= 1
	disabled := func(key *kms.KeyMetadata) *fault { return footnote("1", key.Arn, "Disabled") }
	usage := wrongUsage(macs, "Encrypt")
	wrong := wrongKey()
	algorithm := fault{kms.InvalidKeyUsageException, "Algorithm SYMMETRIC_DEFAULT is incompatible with key spec RSA_2048."}
	for _, c := range []struct {
		name    string
		key     *kms.KeyMetadata
		change  func(*keystore.KeyRecord)
		op      string
		request in
		want    *fault
	}{
		{"permission before usage", macs, forbid, "Encrypt", in{"KeyId": macs.KeyId, "Plaintext": []byte("x")}, denied("Encrypt", macs.Arn)},
		{"permission before ciphertext", symmetric, forbid, "Decrypt", in{"CiphertextBlob": garbled}, denied("Decrypt", symmetric.Arn)},
		{"permission before form of the ciphertext", symmetric, forbid, "Decrypt", in{"KeyId": symmetric.KeyId, "CiphertextBlob": []byte("x")}, denied("Decrypt", symmetric.Arn)},
		{"permission of the source", symmetric, forbid, "ReEncrypt", in{"CiphertextBlob": garbled, "DestinationKeyId": macs.KeyId}, denied("ReEncryptFrom", symmetric.Arn)},
		{"permission of the destination", macs, forbid, "ReEncrypt", in{"CiphertextBlob": garbled, "DestinationKeyId": macs.KeyId}, denied("ReEncryptTo", macs.Arn)},
		{"usage before state", macs, disable, "Encrypt", in{"KeyId": macs.KeyId, "Plaintext": []byte("x")}, &usage},
		{"usage before state in Decrypt", macs, disable, "Decrypt", in{"KeyId": macs.KeyId, "CiphertextBlob": []byte("x")}, &wrong},
		{"algorithm before state", rsa, disable, "Encrypt", in{"KeyId": rsa.KeyId, "Plaintext": []byte("x")}, &algorithm},
		{"state before ciphertext", symmetric, disable, "Decrypt", in{"CiphertextBlob": garbled}, disabled(symmetric)},
		{"state before form of the ciphertext", symmetric, disable, "Decrypt", in{"KeyId": symmetric.KeyId, "CiphertextBlob": []byte("x")}, disabled(symmetric)},
		{"state before size", rsa, disable, "Encrypt", in{"KeyId": rsa.KeyId, "Plaintext": make([]byte, 4096), "EncryptionAlgorithm": "RSAES_OAEP_SHA_1"}, disabled(rsa)},
		{"state before MAC", macs, disable, "VerifyMac", in{"KeyId": macs.KeyId, "Message": []byte("x"), "Mac": []byte("x"), "MacAlgorithm": "HMAC_SHA_256"}, disabled(macs)},
		{"state of the destination before ciphertext", rsa, disable, "ReEncrypt",
			in{"CiphertextBlob": garbled, "DestinationKeyId": rsa.KeyId, "DestinationEncryptionAlgorithm": "RSAES_OAEP_SHA_1"}, disabled(rsa)},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := k.on(t)
			k.with(c.key.KeyId, c.change, func() { k.refused(c.op, c.request, *c.want) })
		})
	}
}
