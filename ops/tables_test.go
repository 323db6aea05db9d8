package ops

import (
	"maps"
	"slices"
	"testing"

	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// TestTables holds every cryptographic operation to the tables of the reference: states, key specs,
// algorithms, limits, identifiers. What is expected stands in the tables of these files, written
// down from the Developer Guide and the API reference, and never comes from the code under test.
// All tables share one service and one key of each kind, since making the keys costs most of the
// time.
func TestTables(t *testing.T) {
	k := newKeyring(t)
	for _, table := range []struct {
		name string
		test func(*testing.T, *keyring)
	}{
		{"CreateKey", testCreateKey},
		{"CreateKey refused", testCreateKeyRefused},
		{"metadata", testMetadata},
		{"public keys", testPublicKeys},
		{"states", testCryptoStates},
		{"order of checks", testOrderOfChecks},
		{"algorithms", testAlgorithms},
		{"wrong keys", testWrongKeys},
		{"message types", testMessageTypes},
		{"sizes", testSizes},
		{"data key pairs", testDataKeyPairs},
		{"dry runs", testDryRuns},
		{"key ids", testKeyIDs},
		{"accounts", testAccounts},
		{"grant tokens", testGrantTokens},
		{"encryption contexts", testContexts},
		{"every operation", testEveryOperation},
	} {
		t.Run(table.name, func(t *testing.T) { table.test(t, k.on(t)) })
	}
}

// A kind is a key spec with a key usage: a line of the Developer Guide's "Key spec reference".
type kind struct{ spec, usage string }

// A kindRow is what a line says.
type kindRow struct {
	kind
	member     string   // the member of KeyMetadata that lists the algorithms
	algorithms []string // in AWS's order
	// lacking is what a message about a token without such keys names, where the one that the tests
	// run on has none.
	lacking string
	// withoutPH: the token does not have the prehashed variant of Ed25519.
	withoutPH bool
}

// offered are the algorithms that the token can do.
func (r kindRow) offered() []string {
	switch {
	case r.lacking != "":
		return nil
	case r.withoutPH:
		return []string{"ED25519_SHA_512"}
	}
	return r.algorithms
}

const (
	encryptDecrypt = "ENCRYPT_DECRYPT"
	signVerify     = "SIGN_VERIFY"
	generateVerify = "GENERATE_VERIFY_MAC"
	keyAgreement   = "KEY_AGREEMENT"
	encapsulate    = "ENCAPSULATE_DECAPSULATE"

	symmetricDefault = "SYMMETRIC_DEFAULT"
)

// usages are all values of KeyUsage.
func usages() []string {
	return []string{encryptDecrypt, signVerify, generateVerify, keyAgreement, encapsulate}
}

// kindRows is the "Key spec reference" (2026).
func kindRows() []kindRow {
	const enc, sig, mac, agree, kem = "EncryptionAlgorithms", "SigningAlgorithms", "MacAlgorithms", "KeyAgreementAlgorithms", "EncapsulationAlgorithms"
	oaep := []string{"RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"}
	rsa := []string{"RSASSA_PKCS1_V1_5_SHA_256", "RSASSA_PKCS1_V1_5_SHA_384", "RSASSA_PKCS1_V1_5_SHA_512",
		"RSASSA_PSS_SHA_256", "RSASSA_PSS_SHA_384", "RSASSA_PSS_SHA_512"}
	ecdh := []string{"ECDH"}
	without := func(what hsmtest.Need, name string) string {
		if hsmtest.Has(what) {
			return ""
		}
		return name
	}
	noDSA, noKEM := without(hsmtest.MLDSA, "CKM_ML_DSA"), without(hsmtest.MLKEM, "CKM_ML_KEM")
	noSM2, noSM2DSA := without(hsmtest.SM2, "CKM_EC_KEY_PAIR_GEN"), without(hsmtest.SM2DSA, "x-kms11-sm2dsa")
	if noSM2 != "" {
		noSM2DSA = noSM2
	}
	mlDSA, mlKEM := []string{"ML_DSA_SHAKE_256"}, []string{"ML_KEM"}
	return []kindRow{
		{kind: kind{symmetricDefault, encryptDecrypt}, member: enc, algorithms: []string{symmetricDefault}},
		{kind: kind{"RSA_2048", encryptDecrypt}, member: enc, algorithms: oaep},
		{kind: kind{"RSA_3072", encryptDecrypt}, member: enc, algorithms: oaep},
		{kind: kind{"RSA_4096", encryptDecrypt}, member: enc, algorithms: oaep},
		{kind: kind{"RSA_2048", signVerify}, member: sig, algorithms: rsa},
		{kind: kind{"RSA_3072", signVerify}, member: sig, algorithms: rsa},
		{kind: kind{"RSA_4096", signVerify}, member: sig, algorithms: rsa},
		{kind: kind{"ECC_NIST_P256", signVerify}, member: sig, algorithms: []string{"ECDSA_SHA_256"}},
		{kind: kind{"ECC_NIST_P384", signVerify}, member: sig, algorithms: []string{"ECDSA_SHA_384"}},
		{kind: kind{"ECC_NIST_P521", signVerify}, member: sig, algorithms: []string{"ECDSA_SHA_512"}},
		{kind: kind{"ECC_NIST_P256", keyAgreement}, member: agree, algorithms: ecdh},
		{kind: kind{"ECC_NIST_P384", keyAgreement}, member: agree, algorithms: ecdh},
		{kind: kind{"ECC_NIST_P521", keyAgreement}, member: agree, algorithms: ecdh},
		{kind: kind{"ECC_SECG_P256K1", signVerify}, member: sig, algorithms: []string{"ECDSA_SHA_256"},
			lacking: without(hsmtest.Secp256k1, "CKM_EC_KEY_PAIR_GEN")},
		{kind: kind{"ECC_NIST_EDWARDS25519", signVerify}, member: sig, algorithms: []string{"ED25519_SHA_512", "ED25519_PH_SHA_512"},
			withoutPH: !hsmtest.Has(hsmtest.Ed25519ph), lacking: without(hsmtest.Ed25519, "CKM_EC_EDWARDS_KEY_PAIR_GEN")},
		{kind: kind{"HMAC_224", generateVerify}, member: mac, algorithms: []string{"HMAC_SHA_224"}},
		{kind: kind{"HMAC_256", generateVerify}, member: mac, algorithms: []string{"HMAC_SHA_256"}},
		{kind: kind{"HMAC_384", generateVerify}, member: mac, algorithms: []string{"HMAC_SHA_384"}},
		{kind: kind{"HMAC_512", generateVerify}, member: mac, algorithms: []string{"HMAC_SHA_512"}},
		{kind: kind{"ML_DSA_44", signVerify}, member: sig, algorithms: mlDSA, lacking: noDSA},
		{kind: kind{"ML_DSA_65", signVerify}, member: sig, algorithms: mlDSA, lacking: noDSA},
		{kind: kind{"ML_DSA_87", signVerify}, member: sig, algorithms: mlDSA, lacking: noDSA},
		{kind: kind{"ML_KEM_512", encapsulate}, member: kem, algorithms: mlKEM, lacking: noKEM},
		{kind: kind{"ML_KEM_768", encapsulate}, member: kem, algorithms: mlKEM, lacking: noKEM},
		{kind: kind{"ML_KEM_1024", encapsulate}, member: kem, algorithms: mlKEM, lacking: noKEM},
		{kind: kind{"SM2", encryptDecrypt}, member: enc, algorithms: []string{"SM2PKE"}, lacking: noSM2},
		{kind: kind{"SM2", signVerify}, member: sig, algorithms: []string{"SM2DSA"}, lacking: noSM2DSA},
		{kind: kind{"SM2", keyAgreement}, member: agree, algorithms: ecdh, lacking: noSM2},
	}
}

// A keyring is the service of the tables with a key of each kind.
type keyring struct {
	*harness
	keys map[kind]*kms.KeyMetadata
}

// newKeyring makes the keys, some under the old name of the member KeySpec. The kinds that the token
// lacks get a record without material, which no request could make. The larger RSA keys, which take
// the token seconds, are made once: the record of the key that signs has the material of the one
// that decrypts, and the token holds it under a handle for each use.
func newKeyring(t *testing.T) *keyring {
	t.Helper()
	k := &keyring{harness: newHarness(t), keys: map[kind]*kms.KeyMetadata{}}
	for _, row := range kindRows() {
		member := "KeySpec"
		switch {
		case row.lacking != "":
			k.keys[row.kind] = k.recordOf(row.kind, nil, 0)
			continue
		case row.usage == signVerify && (row.spec == "RSA_3072" || row.spec == "RSA_4096"):
			made := k.record(k.key(row.spec, encryptDecrypt).KeyId)
			k.keys[row.kind] = k.recordOf(row.kind, made.Materials, made.Current)
			continue
		case row.kind == kind{"RSA_2048", signVerify}, row.spec == "RSA_3072":
			member = "CustomerMasterKeySpec"
		}
		k.keys[row.kind] = k.createKey(in{member: row.spec, "KeyUsage": row.usage})
	}
	return k
}

// recordOf writes the record of a key that nobody created.
func (k *keyring) recordOf(of kind, materials []keystore.KeyMaterial, current uint32) *kms.KeyMetadata {
	k.t.Helper()
	record := k.record(k.symmetric().KeyId).Clone()
	record.ID = kms.FormatUUID([16]byte{15: byte(len(k.keys))})
	record.Spec, record.Usage = kms.KeySpec(of.spec), kms.KeyUsageType(of.usage)
	record.Materials, record.Current = materials, current
	if err := k.store.Update(k.t.Context(), func(tx *keystore.Tx) error { return tx.CreateKey(record) }); err != nil {
		k.t.Fatal(err)
	}
	return k.describe(record.ID)
}

func (k *keyring) record(keyID string) *keystore.KeyRecord {
	k.t.Helper()
	id := keystore.KeyID{Partition: kms.PartitionOf(testRegion), Account: account, Region: testRegion, ID: keyID}
	record, err := k.store.Key(k.t.Context(), id)
	if err != nil {
		k.t.Fatal(err)
	}
	return record
}

// on gives the keyring to a test.
func (k *keyring) on(t *testing.T) *keyring {
	h := *k.harness
	h.t = t
	return &keyring{harness: &h, keys: k.keys}
}

func (k *keyring) key(spec, usage string) *kms.KeyMetadata { return k.keys[kind{spec, usage}] }

func (k *keyring) symmetric() *kms.KeyMetadata { return k.key(symmetricDefault, encryptDecrypt) }

// with writes a change into a key's record for the time of a test.
func (k *keyring) with(keyID string, change func(*keystore.KeyRecord), test func()) {
	k.t.Helper()
	before := k.record(keyID)
	k.editRecord(keyID, change)
	defer k.editRecord(keyID, func(r *keystore.KeyRecord) { *r = *before.Clone() })
	test()
}

// asItIs is the change of a test that only wants the record to be put back.
func asItIs(*keystore.KeyRecord) {}

// A fault is an error as a client sees it.
type fault struct {
	code kms.ErrorCode
	text string
}

func validation(text string) fault { return fault{kms.ValidationException, text} }

// violation is the fault of one constraint of the model.
func violation(what string) fault {
	return validation("1 validation error detected: Value " + what)
}

// wrongKey is the fault of a decryption with a key that cannot be the right one.
func wrongKey() fault {
	return fault{kms.IncorrectKeyException, "The key ID in the request does not identify a CMK that can perform this operation."}
}

func wrongUsage(key *kms.KeyMetadata, op string) fault {
	return fault{kms.InvalidKeyUsageException, key.Arn + " key usage is " + string(key.KeyUsage) + " which is not valid for " + op + "."}
}

// dryRuns are the operations of these tables that take DryRun (API reference).
func dryRuns() []string {
	return []string{"Decapsulate", "Decrypt", "DeriveSharedSecret", "Encapsulate", "Encrypt", "GenerateDataKey", "GenerateDataKeyPair",
		"GenerateDataKeyPairWithoutPlaintext", "GenerateDataKeyWithoutPlaintext", "GenerateMac", "ReEncrypt",
		"Sign", "Verify", "VerifyMac"}
}

func dryRun(request in) in {
	request = maps.Clone(request)
	request["DryRun"] = true
	return request
}

// refused wants a request to fail with a fault. A dry run must fail in the same way.
func (k *keyring) refused(op string, request in, want fault) {
	k.t.Helper()
	_, err := k.invoke(op, request)
	wantError(k.t, err, want.code, want.text)
	if slices.Contains(dryRuns(), op) {
		_, err := k.invoke(op, dryRun(request))
		wantError(k.t, err, want.code, want.text)
	}
}

// allowed wants a request to succeed and gives the answer. A dry run must say that it would.
func (k *keyring) allowed(op string, request in) any {
	k.t.Helper()
	if slices.Contains(dryRuns(), op) {
		_, err := k.invoke(op, dryRun(request))
		wantError(k.t, err, kms.DryRunOperationException, "The request would have succeeded, but the DryRun option is set.")
	}
	return k.must(op, request)
}

// judge is refused, or allowed if there is no fault.
func (k *keyring) judge(op string, request in, want *fault) {
	k.t.Helper()
	if want == nil {
		k.allowed(op, request)
		return
	}
	k.refused(op, request, *want)
}
