package ops

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"maps"
	"slices"
	"testing"

	"github.com/kms11/kms11/kms"
)

// An algorithmRow is an operation and the algorithms that a request for it can name.
type algorithmRow struct {
	op        string
	usage     string // of the keys that it works on
	keyMember string
	member    string   // names the algorithm; empty if the operation implies SYMMETRIC_DEFAULT
	values    []string // all values of the member
	rest      in       // what else a request needs
}

// algorithmRows are the operations with the enums of the API model. other is a symmetric key and
// foreign a ciphertext of it.
func algorithmRows(t testing.TB, other *kms.KeyMetadata, foreign []byte) []algorithmRow {
	encryption := []string{symmetricDefault, "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "SM2PKE"}
	signing := []string{"RSASSA_PSS_SHA_256", "RSASSA_PSS_SHA_384", "RSASSA_PSS_SHA_512", "RSASSA_PKCS1_V1_5_SHA_256",
		"RSASSA_PKCS1_V1_5_SHA_384", "RSASSA_PKCS1_V1_5_SHA_512", "ECDSA_SHA_256", "ECDSA_SHA_384", "ECDSA_SHA_512",
		"SM2DSA", "ML_DSA_SHAKE_256", "ED25519_SHA_512", "ED25519_PH_SHA_512"}
	mac := []string{"HMAC_SHA_224", "HMAC_SHA_256", "HMAC_SHA_384", "HMAC_SHA_512"}
	implied := []string{symmetricDefault}
	x := []byte("x")
	return []algorithmRow{
		{"Encrypt", encryptDecrypt, "KeyId", "EncryptionAlgorithm", encryption, in{"Plaintext": x}},
		{"Decrypt", encryptDecrypt, "KeyId", "EncryptionAlgorithm", encryption, in{"CiphertextBlob": x}},
		{"ReEncrypt", encryptDecrypt, "SourceKeyId", "SourceEncryptionAlgorithm", encryption, in{"CiphertextBlob": x, "DestinationKeyId": other.KeyId}},
		{"ReEncrypt", encryptDecrypt, "DestinationKeyId", "DestinationEncryptionAlgorithm", encryption, in{"CiphertextBlob": foreign}},
		{"GenerateDataKey", encryptDecrypt, "KeyId", "", implied, in{"KeySpec": "AES_128"}},
		{"GenerateDataKeyWithoutPlaintext", encryptDecrypt, "KeyId", "", implied, in{"NumberOfBytes": 1}},
		{"GenerateDataKeyPair", encryptDecrypt, "KeyId", "", implied, in{"KeyPairSpec": "ECC_NIST_P256"}},
		{"GenerateDataKeyPairWithoutPlaintext", encryptDecrypt, "KeyId", "", implied, in{"KeyPairSpec": "ECC_NIST_P256"}},
		{"Sign", signVerify, "KeyId", "SigningAlgorithm", signing, in{"Message": x}},
		{"Verify", signVerify, "KeyId", "SigningAlgorithm", signing, in{"Message": x, "Signature": x}},
		{"GenerateMac", generateVerify, "KeyId", "MacAlgorithm", mac, in{"Message": x}},
		{"VerifyMac", generateVerify, "KeyId", "MacAlgorithm", mac, in{"Message": x, "Mac": x}},
		{"DeriveSharedSecret", keyAgreement, "KeyId", "KeyAgreementAlgorithm", []string{"ECDH"}, in{"PublicKey": peer(t)}},
		{"Encapsulate", encapsulate, "KeyId", "EncapsulationAlgorithm", []string{"ML_KEM"}, in{}},
		{"Decapsulate", encapsulate, "KeyId", "EncapsulationAlgorithm", []string{"ML_KEM"}, in{"SharedSecretCiphertextBlob": x}},
	}
}

// testAlgorithms takes every kind of key through every operation with every algorithm: those that
// do not fit are refused, the others must be undone or confirmed by the counterpart operation.
func testAlgorithms(t *testing.T, k *keyring) {
	other := k.createKey(nil)
	foreign := k.must("Encrypt", in{"KeyId": other.KeyId, "Plaintext": []byte("x")}).(*kms.EncryptResponse).CiphertextBlob
	operations := algorithmRows(t, other, foreign)
	for _, row := range kindRows() {
		t.Run(row.spec+" "+row.usage, func(t *testing.T) {
			k := k.on(t)
			for _, operation := range operations {
				for _, algorithm := range operation.values {
					k.refuseAlgorithm(row, operation, algorithm)
				}
			}
			for _, algorithm := range row.offered() {
				switch row.usage {
				case encryptDecrypt:
					k.checkEncryption(row, algorithm, other)
				case signVerify:
					k.checkSigning(row, algorithm)
				case generateVerify:
					k.checkMAC(row, algorithm)
				case keyAgreement:
					k.checkAgreement(row)
				case encapsulate:
					k.checkEncapsulation(row)
				}
			}
		})
	}
}

// refuseAlgorithm makes a request that must be refused, unless it fits.
func (k *keyring) refuseAlgorithm(row kindRow, operation algorithmRow, algorithm string) {
	k.t.Helper()
	key := k.keys[row.kind]
	request := maps.Clone(operation.rest)
	request[operation.keyMember] = key.KeyId
	if operation.member != "" {
		request[operation.member] = algorithm
	}
	decrypts := operation.op == "Decrypt" || operation.keyMember == "SourceKeyId"
	switch {
	case row.usage != operation.usage && decrypts:
		k.refused(operation.op, request, wrongKey())
	case row.usage != operation.usage:
		k.refused(operation.op, request, wrongUsage(key, operation.op))
	case !slices.Contains(row.algorithms, algorithm):
		k.refused(operation.op, request, fault{kms.InvalidKeyUsageException, "Algorithm " + algorithm + " is incompatible with key spec " + row.spec + "."})
	case !slices.Contains(row.offered(), algorithm):
		k.refused(operation.op, request, fault{kms.UnsupportedOperationException, "The token that holds " + key.Arn + " does not support the algorithm " + algorithm + "."})
	}
}

// checkEncryption encrypts and decrypts, directly, by way of another key, and as a data key.
func (k *keyring) checkEncryption(row kindRow, algorithm string, other *kms.KeyMetadata) {
	k.t.Helper()
	key := k.keys[row.kind]
	plaintext := []byte("plaintext of " + row.spec)
	materialOf := func(key *kms.KeyMetadata) string { return key.CurrentKeyMaterialId } // empty for RSA
	decrypt := func(blob []byte) {
		k.t.Helper()
		got := k.allowed("Decrypt", in{"KeyId": key.KeyId, "CiphertextBlob": blob, "EncryptionAlgorithm": algorithm}).(*kms.DecryptResponse)
		want := map[string]any{"KeyId": key.Arn, "Plaintext": plaintext, "EncryptionAlgorithm": algorithm}
		if id := materialOf(key); id != "" {
			want["KeyMaterialId"] = id
		}
		wantMembers(k.t, "Decrypt", got, want)
	}
	out := k.allowed("Encrypt", in{"KeyId": key.KeyId, "Plaintext": plaintext, "EncryptionAlgorithm": algorithm}).(*kms.EncryptResponse)
	wantMembers(k.t, "Encrypt", out, map[string]any{"CiphertextBlob": out.CiphertextBlob, "KeyId": key.Arn, "EncryptionAlgorithm": algorithm})
	decrypt(out.CiphertextBlob)

	away := k.allowed("ReEncrypt", in{"SourceKeyId": key.KeyId, "SourceEncryptionAlgorithm": algorithm, "CiphertextBlob": out.CiphertextBlob,
		"DestinationKeyId": other.KeyId}).(*kms.ReEncryptResponse)
	want := map[string]any{"CiphertextBlob": away.CiphertextBlob, "SourceKeyId": key.Arn, "KeyId": other.Arn, "SourceEncryptionAlgorithm": algorithm,
		"DestinationEncryptionAlgorithm": symmetricDefault, "DestinationKeyMaterialId": materialOf(other)}
	if id := materialOf(key); id != "" {
		want["SourceKeyMaterialId"] = id
	}
	wantMembers(k.t, "ReEncrypt", away, want)
	back := k.allowed("ReEncrypt", in{"CiphertextBlob": away.CiphertextBlob, "DestinationKeyId": key.KeyId,
		"DestinationEncryptionAlgorithm": algorithm}).(*kms.ReEncryptResponse)
	want = map[string]any{"CiphertextBlob": back.CiphertextBlob, "SourceKeyId": other.Arn, "KeyId": key.Arn, "SourceEncryptionAlgorithm": symmetricDefault,
		"DestinationEncryptionAlgorithm": algorithm, "SourceKeyMaterialId": materialOf(other)}
	if id := materialOf(key); id != "" {
		want["DestinationKeyMaterialId"] = id
	}
	wantMembers(k.t, "ReEncrypt back", back, want)
	decrypt(back.CiphertextBlob)

	if algorithm != symmetricDefault {
		return
	}
	if defaults := k.allowed("Decrypt", in{"CiphertextBlob": out.CiphertextBlob}).(*kms.DecryptResponse); !bytes.Equal(defaults.Plaintext, plaintext) {
		k.t.Error("Decrypt with the default of every member gives another plaintext")
	}
	made := k.allowed("GenerateDataKey", in{"KeyId": key.KeyId, "KeySpec": "AES_256"}).(*kms.GenerateDataKeyResponse)
	wantMembers(k.t, "GenerateDataKey", made, map[string]any{"CiphertextBlob": made.CiphertextBlob, "Plaintext": made.Plaintext, "KeyId": key.Arn,
		"KeyMaterialId": materialOf(key)})
	plaintext = made.Plaintext
	decrypt(made.CiphertextBlob)
	silent := k.allowed("GenerateDataKeyWithoutPlaintext", in{"KeyId": key.KeyId, "KeySpec": "AES_256"}).(*kms.GenerateDataKeyWithoutPlaintextResponse)
	wantMembers(k.t, "GenerateDataKeyWithoutPlaintext", silent, map[string]any{"CiphertextBlob": silent.CiphertextBlob, "KeyId": key.Arn,
		"KeyMaterialId": materialOf(key)})
}

// checkSigning signs and verifies, and verifies what was not signed.
func (k *keyring) checkSigning(row kindRow, algorithm string) {
	k.t.Helper()
	key := k.keys[row.kind]
	request := in{"KeyId": key.KeyId, "SigningAlgorithm": algorithm}
	says := func(text string) {
		request["Message"], request["MessageType"] = []byte(text), "RAW"
		if request["SigningAlgorithm"] == "ED25519_PH_SHA_512" {
			digest := sha512.Sum512([]byte(text))
			request["Message"], request["MessageType"] = digest[:], "DIGEST"
		}
	}
	says("signed")
	signed := k.allowed("Sign", request).(*kms.SignResponse)
	wantMembers(k.t, "Sign", signed, map[string]any{"KeyId": key.Arn, "Signature": signed.Signature, "SigningAlgorithm": algorithm})
	request["Signature"] = signed.Signature
	verified := k.allowed("Verify", request)
	wantMembers(k.t, "Verify", verified, map[string]any{"KeyId": key.Arn, "SignatureValid": true, "SigningAlgorithm": algorithm})

	invalid := fault{kms.KMSInvalidSignatureException, ""}
	says("not signed")
	k.refused("Verify", request, invalid)
	for _, other := range row.offered() {
		if other != algorithm {
			request["SigningAlgorithm"] = other
			says("signed")
			k.refused("Verify", request, invalid)
		}
	}
	request["SigningAlgorithm"] = algorithm
	says("signed")
	for _, signature := range [][]byte{signed.Signature[1:], append(bytes.Clone(signed.Signature), 0), {0}, make([]byte, 6144)} {
		request["Signature"] = signature
		k.refused("Verify", request, invalid)
	}
}

// checkMAC makes and verifies a MAC, and verifies others.
func (k *keyring) checkMAC(row kindRow, algorithm string) {
	k.t.Helper()
	key := k.keys[row.kind]
	request := in{"KeyId": key.KeyId, "Message": []byte("message"), "MacAlgorithm": algorithm}
	made := k.allowed("GenerateMac", request).(*kms.GenerateMacResponse)
	wantMembers(k.t, "GenerateMac", made, map[string]any{"KeyId": key.Arn, "Mac": made.Mac, "MacAlgorithm": algorithm})
	if want := map[string]int{"HMAC_SHA_224": 28, "HMAC_SHA_256": 32, "HMAC_SHA_384": 48, "HMAC_SHA_512": 64}[algorithm]; len(made.Mac) != want {
		k.t.Errorf("a MAC of %d bytes", len(made.Mac))
	}
	request["Mac"] = made.Mac
	wantMembers(k.t, "VerifyMac", k.allowed("VerifyMac", request), map[string]any{"KeyId": key.Arn, "MacValid": true, "MacAlgorithm": algorithm})

	invalid := fault{kms.KMSInvalidMacException, ""}
	request["Message"] = []byte("other message")
	k.refused("VerifyMac", request, invalid)
	request["Message"] = []byte("message")
	for _, mac := range [][]byte{made.Mac[:len(made.Mac)-1], append(bytes.Clone(made.Mac), 0), {0}, make([]byte, 6144)} {
		request["Mac"] = mac
		k.refused("VerifyMac", request, invalid)
	}
}

// checkEncapsulation encapsulates and decapsulates, what is wrong too (FIPS 203: a ciphertext of the
// right length always gives a secret).
func (k *keyring) checkEncapsulation(row kindRow) {
	k.t.Helper()
	key := k.keys[row.kind]
	size := map[string]int{"ML_KEM_512": 768, "ML_KEM_768": 1088, "ML_KEM_1024": 1568}[row.spec]
	request := in{"KeyId": key.KeyId, "EncapsulationAlgorithm": "ML_KEM"}
	made := k.allowed("Encapsulate", request).(*kms.EncapsulateResponse)
	wantMembers(k.t, "Encapsulate", made, map[string]any{"KeyId": key.Arn, "SharedSecret": made.SharedSecret,
		"SharedSecretCiphertextBlob": made.SharedSecretCiphertextBlob, "EncapsulationAlgorithm": "ML_KEM"})
	if len(made.SharedSecret) != 32 || len(made.SharedSecretCiphertextBlob) != size {
		k.t.Errorf("a secret of %d bytes in %d", len(made.SharedSecret), len(made.SharedSecretCiphertextBlob))
	}
	request["SharedSecretCiphertextBlob"] = made.SharedSecretCiphertextBlob
	wantMembers(k.t, "Decapsulate", k.allowed("Decapsulate", request),
		map[string]any{"KeyId": key.Arn, "SharedSecret": made.SharedSecret, "EncapsulationAlgorithm": "ML_KEM"})
	changed := bytes.Clone(made.SharedSecretCiphertextBlob)
	changed[size-1] ^= 1
	request["SharedSecretCiphertextBlob"] = changed
	if other := k.allowed("Decapsulate", request).(*kms.DecapsulateResponse); len(other.SharedSecret) != 32 || bytes.Equal(other.SharedSecret, made.SharedSecret) {
		k.t.Error("a changed ciphertext gives no secret, or the same")
	}
	for _, n := range []int{1, size - 1, size + 1, 6144} {
		request["SharedSecretCiphertextBlob"] = make([]byte, n)
		k.refused("Decapsulate", request, fault{kms.InvalidCiphertextException, ""})
	}
}

// checkAgreement agrees with somebody who has the standard library, and refuses what is no public
// key on the curve.
func (k *keyring) checkAgreement(row kindRow) {
	k.t.Helper()
	key := k.keys[row.kind]
	if row.spec == "SM2" { // the standard library does not have the curve; package hsm looks at the secrets
		request := in{"KeyId": key.KeyId, "KeyAgreementAlgorithm": "ECDH",
			"PublicKey": k.must("GetPublicKey", in{"KeyId": k.key("SM2", encryptDecrypt).KeyId}).(*kms.GetPublicKeyResponse).PublicKey}
		got := k.allowed("DeriveSharedSecret", request).(*kms.DeriveSharedSecretResponse)
		wantMembers(k.t, "DeriveSharedSecret", got, map[string]any{"KeyId": key.Arn, "SharedSecret": got.SharedSecret, "KeyAgreementAlgorithm": "ECDH", "KeyOrigin": "AWS_KMS"})
		if len(got.SharedSecret) != 32 {
			k.t.Errorf("a secret of %d bytes", len(got.SharedSecret))
		}
		request["PublicKey"] = peer(k.t) // on P-256
		k.refused("DeriveSharedSecret", request, validation(""))
		return
	}
	curves := map[string]ecdh.Curve{"ECC_NIST_P256": ecdh.P256(), "ECC_NIST_P384": ecdh.P384(), "ECC_NIST_P521": ecdh.P521()}
	public := func(private *ecdh.PrivateKey) []byte {
		der, err := x509.MarshalPKIXPublicKey(private.PublicKey())
		if err != nil {
			k.t.Fatal(err)
		}
		return der
	}
	somebody := func(curve ecdh.Curve) *ecdh.PrivateKey {
		private, err := curve.GenerateKey(rand.Reader)
		if err != nil {
			k.t.Fatal(err)
		}
		return private
	}
	request := func(peer []byte) in {
		return in{"KeyId": key.KeyId, "PublicKey": peer, "KeyAgreementAlgorithm": "ECDH"}
	}
	parsed, err := x509.ParsePKIXPublicKey(k.must("GetPublicKey", in{"KeyId": key.KeyId}).(*kms.GetPublicKeyResponse).PublicKey)
	if err != nil {
		k.t.Fatal(err)
	}
	ours, err := parsed.(*ecdsa.PublicKey).ECDH()
	if err != nil {
		k.t.Fatal(err)
	}
	private := somebody(curves[row.spec])
	want, err := private.ECDH(ours)
	if err != nil {
		k.t.Fatal(err)
	}
	got := k.allowed("DeriveSharedSecret", request(public(private)))
	wantMembers(k.t, "DeriveSharedSecret", got, map[string]any{"KeyId": key.Arn, "SharedSecret": want, "KeyAgreementAlgorithm": "ECDH", "KeyOrigin": "AWS_KMS"})

	bad := validation("") // AWS gives no text
	off := public(private)
	off[len(off)-1] ^= 1 // not on the curve
	for _, peer := range [][]byte{{0}, []byte("garbage"), off, off[:len(off)-1], append(public(private), 0)} {
		k.refused("DeriveSharedSecret", request(peer), bad)
	}
	for spec, curve := range curves {
		if spec != row.spec {
			k.refused("DeriveSharedSecret", request(public(somebody(curve))), bad)
		}
	}
}
