package ops

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"hash"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
)

// testMessageTypes holds Sign and Verify to what the API reference says of MessageType.
func testMessageTypes(t *testing.T, k *keyring) {
	hashes := map[string]func() hash.Hash{"256": sha256.New, "384": sha512.New384, "512": sha512.New}
	for _, row := range kindRows() {
		if row.usage != signVerify || row.lacking != "" {
			continue
		}
		for _, algorithm := range row.offered() {
			t.Run(row.spec+" "+algorithm, func(t *testing.T) {
				k := k.on(t)
				edwards := strings.HasPrefix(algorithm, "ED25519")
				message := []byte("message")
				request := func(messageType string, message, signature []byte) in {
					r := in{"KeyId": k.keys[row.kind].KeyId, "Message": message, "SigningAlgorithm": algorithm}
					if messageType != "" {
						r["MessageType"] = messageType
					}
					if signature != nil {
						r["Signature"] = signature
					}
					return r
				}
				both := func(messageType string, message []byte, want fault) {
					t.Helper()
					k.refused("Sign", request(messageType, message, nil), want)
					k.refused("Verify", request(messageType, message, []byte("x")), want)
				}
				sign := func(messageType string, message []byte) []byte {
					t.Helper()
					return k.allowed("Sign", request(messageType, message, nil)).(*kms.SignResponse).Signature
				}
				// The text is this service's: AWS's is not known.
				bad := func(messageType string) fault {
					return validation("MessageType " + messageType + " is not valid for algorithm " + algorithm + ".")
				}
				if algorithm == "ML_DSA_SHAKE_256" {
					raw := sign("", message)
					k.allowed("Verify", request("RAW", message, raw))
					k.allowed("Verify", request("", message, sign("RAW", message)))
					both("DIGEST", make([]byte, 32), bad("DIGEST"))
					for _, size := range []int{1, 32, 63, 65, 4096} {
						both("EXTERNAL_MU", make([]byte, size), validation("Digest is invalid length for algorithm "+algorithm+"."))
					}
					if !hsmtest.Has(hsmtest.MLDSAMu) {
						both("EXTERNAL_MU", make([]byte, 64), fault{kms.UnsupportedOperationException,
							"The token that holds " + k.keys[row.kind].Arn + " does not support MessageType EXTERNAL_MU, for which it needs CKM_ML_DSA_EXTERNAL_MU."})
					}
					return
				}
				both("EXTERNAL_MU", make([]byte, 64), bad("EXTERNAL_MU"))
				if algorithm == "ED25519_PH_SHA_512" {
					both("RAW", message, bad("RAW"))
					digest := sha512.Sum512(message)
					k.allowed("Verify", request("DIGEST", digest[:], sign("DIGEST", digest[:])))
					both("DIGEST", digest[:32], validation("Digest is invalid length for algorithm "+algorithm+"."))
					return
				}
				raw := sign("", message)
				k.allowed("Verify", request("RAW", message, raw))
				k.allowed("Verify", request("", message, sign("RAW", message)))
				if edwards {
					both("DIGEST", make([]byte, 64), bad("DIGEST"))
					return
				}
				h := hashes[algorithm[len(algorithm)-3:]]()
				h.Write(message)
				digest := h.Sum(nil)
				k.allowed("Verify", request("DIGEST", digest, raw))
				k.allowed("Verify", request("RAW", message, sign("DIGEST", digest)))
				k.refused("Verify", request("RAW", digest, raw), fault{kms.KMSInvalidSignatureException, ""})
				for _, size := range []int{1, 20, len(digest) - 1, len(digest) + 1, 4096} {
					both("DIGEST", make([]byte, size), validation("Digest is invalid length for algorithm "+algorithm+"."))
				}
			})
		}
	}
	// What SoftHSM2 cannot sign never gets as far as the message. The rule is looked at by itself.
	for _, c := range []struct {
		algorithm   kms.SigningAlgorithmSpec
		messageType kms.MessageType
		size        int
		want        *fault
	}{
		{"ED25519_PH_SHA_512", "DIGEST", 64, nil},
		{"ED25519_PH_SHA_512", "DIGEST", 32, &fault{kms.ValidationException, "Digest is invalid length for algorithm ED25519_PH_SHA_512."}},
		{"ED25519_PH_SHA_512", "RAW", 64, &fault{kms.ValidationException, "MessageType RAW is not valid for algorithm ED25519_PH_SHA_512."}},
		{"ED25519_PH_SHA_512", "", 64, &fault{kms.ValidationException, "MessageType RAW is not valid for algorithm ED25519_PH_SHA_512."}},
		{"ML_DSA_SHAKE_256", "", 4096, nil},
		{"ML_DSA_SHAKE_256", "DIGEST", 32, &fault{kms.ValidationException, "MessageType DIGEST is not valid for algorithm ML_DSA_SHAKE_256."}},
		{"ML_DSA_SHAKE_256", "EXTERNAL_MU", 64, nil},
		{"ML_DSA_SHAKE_256", "EXTERNAL_MU", 63, &fault{kms.ValidationException, "Digest is invalid length for algorithm ML_DSA_SHAKE_256."}},
		{"ML_DSA_SHAKE_256", "EXTERNAL_MU", 4096, &fault{kms.ValidationException, "Digest is invalid length for algorithm ML_DSA_SHAKE_256."}},
		{"SM2DSA", "DIGEST", 32, nil},
		{"SM2DSA", "EXTERNAL_MU", 64, &fault{kms.ValidationException, "MessageType EXTERNAL_MU is not valid for algorithm SM2DSA."}},
	} {
		input, err := signInput(signingRequest{algorithm: c.algorithm, messageType: c.messageType, message: make([]byte, c.size)})
		switch {
		case c.want != nil:
			wantError(t, err, c.want.code, c.want.text)
		case err != nil:
			t.Errorf("%s %s: %v", c.algorithm, c.messageType, err)
		case input.Digest != (c.algorithm == "SM2DSA"): // Ed25519ph hashes the digest once more
			t.Errorf("%s %s: digest %t", c.algorithm, c.messageType, input.Digest)
		case input.ExternalMu != (c.messageType == "EXTERNAL_MU"):
			t.Errorf("%s %s: mu %t", c.algorithm, c.messageType, input.ExternalMu)
		}
	}
}

// testSizes goes to the limits of every blob and number, and one beyond.
func testSizes(t *testing.T, k *keyring) {
	blob := func(n int) []byte { return bytes.Repeat([]byte{'m'}, n) }
	length := func(member, constraint string, n int) fault {
		return violation("at '" + member + "' failed to satisfy constraint: Member must have length " + constraint + " than or equal to " + strconv.Itoa(n))
	}
	// limits takes a blob to its limits; a fault within them comes from later checks.
	limits := func(op, member, path string, request in, most int, within *fault) {
		t.Helper()
		for _, n := range []int{1, most} {
			request[member] = blob(n)
			k.judge(op, request, within)
		}
		request[member] = []byte{}
		k.refused(op, request, length(path, "greater", 1))
		request[member] = blob(most + 1)
		k.refused(op, request, length(path, "less", most))
	}
	symmetric := k.symmetric().KeyId
	limits("Encrypt", "Plaintext", "plaintext", in{"KeyId": symmetric}, 4096, nil)
	corrupt := &fault{kms.InvalidCiphertextException, ""}
	limits("Decrypt", "CiphertextBlob", "ciphertextBlob", in{"KeyId": symmetric}, 6144, corrupt)
	limits("ReEncrypt", "CiphertextBlob", "ciphertextBlob", in{"DestinationKeyId": symmetric}, 6144, corrupt)
	signing := in{"KeyId": k.key("ECC_NIST_P256", signVerify).KeyId, "SigningAlgorithm": "ECDSA_SHA_256"}
	limits("Sign", "Message", "message", signing, 4096, nil)
	badSignature := &fault{kms.KMSInvalidSignatureException, ""}
	signing["Signature"] = blob(64)
	limits("Verify", "Message", "message", signing, 4096, badSignature)
	signing["Message"] = blob(1)
	limits("Verify", "Signature", "signature", signing, 6144, badSignature)
	macs := in{"KeyId": k.key("HMAC_512", generateVerify).KeyId, "MacAlgorithm": "HMAC_SHA_512"}
	limits("GenerateMac", "Message", "message", macs, 4096, nil)
	badMAC := &fault{kms.KMSInvalidMacException, ""}
	macs["Mac"] = blob(64)
	limits("VerifyMac", "Message", "message", macs, 4096, badMAC)
	macs["Message"] = blob(1)
	limits("VerifyMac", "Mac", "mac", macs, 6144, badMAC)
	agreement := in{"KeyId": k.key("ECC_NIST_P256", keyAgreement).KeyId, "KeyAgreementAlgorithm": "ECDH"}
	limits("DeriveSharedSecret", "PublicKey", "publicKey", agreement, 8192, &fault{kms.ValidationException, ""})

	testNumberOfBytes(t, k)
	testOAEPSizes(t, k)
	testSM2Sizes(t, k)
}

// testSM2Sizes goes to the longest plaintext that SM2PKE takes (API reference, Encrypt) and beyond.
func testSM2Sizes(t *testing.T, k *keyring) {
	if !hsmtest.Has(hsmtest.SM2) {
		return // testAlgorithms sees to what is said instead
	}
	key := k.key("SM2", encryptDecrypt)
	for _, n := range []int{1, 1024, 1025, 4096} {
		plaintext := bytes.Repeat([]byte{0xa5}, n)
		encrypt := in{"KeyId": key.KeyId, "Plaintext": plaintext, "EncryptionAlgorithm": "SM2PKE"}
		if n > 1024 {
			k.refused("Encrypt", encrypt, validation("Algorithm SM2PKE and key spec SM2 cannot encrypt data larger than 1024 bytes."))
			continue
		}
		blob := k.allowed("Encrypt", encrypt).(*kms.EncryptResponse).CiphertextBlob
		request := in{"KeyId": key.KeyId, "CiphertextBlob": blob, "EncryptionAlgorithm": "SM2PKE"}
		if out := k.allowed("Decrypt", request).(*kms.DecryptResponse); !bytes.Equal(out.Plaintext, plaintext) {
			t.Errorf("SM2PKE: %d bytes do not come back", n)
		}
		request["CiphertextBlob"] = blob[:len(blob)-1]
		k.refused("Decrypt", request, fault{kms.InvalidCiphertextException, ""})
		request["CiphertextBlob"] = append(blob[:len(blob)-1:len(blob)-1], blob[len(blob)-1]^1)
		k.refused("Decrypt", request, fault{kms.InvalidCiphertextException, ""})
		request["EncryptionContext"] = in{"a": "b"}
		k.refused("Decrypt", request, validation("EncryptionContext is not supported when encrypting/decrypting with asymmetric CMKs."))
	}
}

// testNumberOfBytes is about the sizes of data keys and random bytes.
func testNumberOfBytes(t *testing.T, k *keyring) {
	symmetric := k.symmetric().KeyId
	between := func(value, constraint string) fault {
		return violation("'" + value + "' at 'numberOfBytes' failed to satisfy constraint: Member must have value " + constraint)
	}
	for op, more := range map[string]in{"GenerateRandom": {}, "GenerateDataKey": {"KeyId": symmetric}, "GenerateDataKeyWithoutPlaintext": {"KeyId": symmetric}} {
		request := func(member string, value any) in { return use{request: more}.but(member, value) }
		for _, n := range []int{1, 1024} {
			var made []byte
			switch out := k.allowed(op, request("NumberOfBytes", n)).(type) {
			case *kms.GenerateRandomResponse:
				made = out.Plaintext
			case *kms.GenerateDataKeyResponse:
				made = out.Plaintext
			case *kms.GenerateDataKeyWithoutPlaintextResponse:
				made = k.must("Decrypt", in{"CiphertextBlob": out.CiphertextBlob}).(*kms.DecryptResponse).Plaintext
			}
			if len(made) != n {
				t.Errorf("%s: %d bytes, want %d", op, len(made), n)
			}
		}
		k.refused(op, request("NumberOfBytes", 0), between("0", "greater than or equal to 1"))
		k.refused(op, request("NumberOfBytes", -1), between("-1", "greater than or equal to 1"))
		k.refused(op, request("NumberOfBytes", 1025), between("1025", "less than or equal to 1024"))
		if op == "GenerateRandom" {
			k.refused(op, in{}, validation("NumberOfBytes is required."))
			continue
		}
		oneOf := validation("Please specify either number of bytes or key spec.")
		k.refused(op, more, oneOf)
		k.refused(op, in{"KeyId": symmetric, "KeySpec": "AES_256", "NumberOfBytes": 32}, oneOf)
		_, err := k.invoke(op, request("KeySpec", "AES_192"))
		wantEnum(t, err, "AES_192", "keySpec", []string{"AES_256", "AES_128"})
	}
	for spec, size := range map[string]int{"AES_128": 16, "AES_256": 32} {
		if out := k.allowed("GenerateDataKey", in{"KeyId": symmetric, "KeySpec": spec}).(*kms.GenerateDataKeyResponse); len(out.Plaintext) != size {
			t.Errorf("%s: %d bytes", spec, len(out.Plaintext))
		}
	}
}

// testOAEPSizes goes to the longest plaintext that OAEP takes (RFC 8017, section 7.1.1) and beyond.
func testOAEPSizes(t *testing.T, k *keyring) {
	symmetric := k.symmetric().KeyId
	for _, c := range []struct {
		spec         string
		sha1, sha256 int
	}{
		{"RSA_2048", 214, 190},
		{"RSA_3072", 342, 318},
		{"RSA_4096", 470, 446},
	} {
		for algorithm, most := range map[string]int{"RSAES_OAEP_SHA_1": c.sha1, "RSAES_OAEP_SHA_256": c.sha256} {
			key := k.key(c.spec, encryptDecrypt)
			tooLong := validation("Algorithm " + algorithm + " and key spec " + c.spec + " cannot encrypt data larger than " + strconv.Itoa(most) + " bytes.")
			for _, n := range []int{1, most, most + 1, 4096} {
				plaintext := bytes.Repeat([]byte{0xa5}, n)
				encrypt := in{"KeyId": key.KeyId, "Plaintext": plaintext, "EncryptionAlgorithm": algorithm}
				sealed := k.must("Encrypt", in{"KeyId": symmetric, "Plaintext": plaintext}).(*kms.EncryptResponse).CiphertextBlob
				reencrypt := in{"CiphertextBlob": sealed, "DestinationKeyId": key.KeyId, "DestinationEncryptionAlgorithm": algorithm}
				if n > most {
					k.refused("Encrypt", encrypt, tooLong)
					k.refused("ReEncrypt", reencrypt, tooLong)
					continue
				}
				for _, blob := range [][]byte{
					k.allowed("Encrypt", encrypt).(*kms.EncryptResponse).CiphertextBlob,
					k.allowed("ReEncrypt", reencrypt).(*kms.ReEncryptResponse).CiphertextBlob,
				} {
					out := k.must("Decrypt", in{"KeyId": key.KeyId, "CiphertextBlob": blob, "EncryptionAlgorithm": algorithm}).(*kms.DecryptResponse)
					if !bytes.Equal(out.Plaintext, plaintext) {
						t.Errorf("%s %s: %d bytes do not come back", c.spec, algorithm, n)
					}
				}
			}
		}
	}
}

// testDataKeyPairs makes a data key pair of each spec but the larger RSA ones, which take the token
// seconds and differ from RSA_2048 in nothing that this package sees.
func testDataKeyPairs(t *testing.T, k *keyring) {
	key := k.symmetric()
	context := in{"purpose": "pair"}
	request := func(spec string) in {
		return in{"KeyId": key.KeyId, "KeyPairSpec": spec, "EncryptionContext": context}
	}
	open := func(blob []byte) []byte {
		t.Helper()
		k.refused("Decrypt", in{"CiphertextBlob": blob}, fault{kms.InvalidCiphertextException, ""})
		return k.must("Decrypt", in{"CiphertextBlob": blob, "EncryptionContext": context}).(*kms.DecryptResponse).Plaintext
	}
	pairs := []string{"RSA_2048", "ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521"}
	lacking := map[string]string{}
	for _, row := range kindRows() {
		if !slices.Contains([]string{"ECC_SECG_P256K1", "ECC_NIST_EDWARDS25519", "SM2", "ML_KEM_512", "ML_KEM_768", "ML_KEM_1024"}, row.spec) || row.kind == (kind{"SM2", signVerify}) {
			continue
		}
		if row.lacking != "" {
			lacking[row.spec] = row.lacking
		} else if !slices.Contains(pairs, row.spec) {
			pairs = append(pairs, row.spec)
		}
	}
	for _, spec := range pairs {
		out := k.allowed("GenerateDataKeyPair", request(spec)).(*kms.GenerateDataKeyPairResponse)
		wantMembers(t, spec, out, map[string]any{"PrivateKeyCiphertextBlob": out.PrivateKeyCiphertextBlob, "PrivateKeyPlaintext": out.PrivateKeyPlaintext,
			"PublicKey": out.PublicKey, "KeyId": key.Arn, "KeyPairSpec": spec, "KeyMaterialId": key.CurrentKeyMaterialId})
		if !bytes.Equal(open(out.PrivateKeyCiphertextBlob), out.PrivateKeyPlaintext) {
			t.Errorf("%s: the ciphertext is of another private key", spec)
		}
		wantPair(t, spec, out.PrivateKeyPlaintext, out.PublicKey)
	}
	for _, spec := range pairs[1:] {
		out := k.allowed("GenerateDataKeyPairWithoutPlaintext", request(spec)).(*kms.GenerateDataKeyPairWithoutPlaintextResponse)
		wantMembers(t, spec, out, map[string]any{"PrivateKeyCiphertextBlob": out.PrivateKeyCiphertextBlob, "PublicKey": out.PublicKey,
			"KeyId": key.Arn, "KeyPairSpec": spec, "KeyMaterialId": key.CurrentKeyMaterialId})
		wantPair(t, spec, open(out.PrivateKeyCiphertextBlob), out.PublicKey)
	}
	for _, op := range []string{"GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext"} {
		for spec, mechanism := range lacking {
			for _, r := range []in{request(spec), dryRun(request(spec))} {
				_, err := k.invoke(op, r)
				if got := kms.AsError(err); got.Code != kms.UnsupportedOperationException || !strings.Contains(got.Message, mechanism) {
					t.Errorf("%s %s: %v", op, spec, err)
				}
			}
		}
		_, err := k.invoke(op, request(symmetricDefault))
		wantEnum(t, err, symmetricDefault, "keyPairSpec", []string{"RSA_2048", "RSA_3072", "RSA_4096", "ECC_NIST_P256", "ECC_NIST_P384",
			"ECC_NIST_P521", "ECC_SECG_P256K1", "ECC_NIST_EDWARDS25519", "SM2", "ML_KEM_512", "ML_KEM_768", "ML_KEM_1024"})
	}
}

// wantPair wants a private key in PKCS #8 and its public key.
func wantPair(t testing.TB, spec string, private, public []byte) {
	t.Helper()
	wantPublicKey(t, spec, public)
	switch {
	case strings.HasPrefix(spec, "ML_KEM"): // the standard library reads no PKCS #8 of these; package hsm asks OpenSSL
		return
	case spec == "ECC_SECG_P256K1", spec == "SM2": // the standard library lacks the curve; the private key holds the point
		if !bytes.Contains(private, public[len(public)-65:]) {
			t.Errorf("%s: the private key does not name its public key", spec)
		}
		return
	}
	key, err := x509.ParsePKCS8PrivateKey(private)
	if err != nil {
		t.Errorf("%s: %v", spec, err)
		return
	}
	der, err := x509.MarshalPKIXPublicKey(key.(crypto.Signer).Public())
	if err != nil || !bytes.Equal(der, public) {
		t.Errorf("%s: the public key is of another private key (%v)", spec, err)
	}
}
