package kms

import (
	"strings"
	"testing"
)

// TestSpecTable compares the table with the key spec reference, written as a user reads it: spec,
// usage, algorithms in AWS's order.
func TestSpecTable(t *testing.T) {
	const rsaSigning = "RSASSA_PKCS1_V1_5_SHA_256 RSASSA_PKCS1_V1_5_SHA_384 RSASSA_PKCS1_V1_5_SHA_512 " +
		"RSASSA_PSS_SHA_256 RSASSA_PSS_SHA_384 RSASSA_PSS_SHA_512"
	reference := map[string]string{
		"SYMMETRIC_DEFAULT ENCRYPT_DECRYPT":   "SYMMETRIC_DEFAULT",
		"RSA_2048 ENCRYPT_DECRYPT":            "RSAES_OAEP_SHA_1 RSAES_OAEP_SHA_256",
		"RSA_2048 SIGN_VERIFY":                rsaSigning,
		"RSA_3072 ENCRYPT_DECRYPT":            "RSAES_OAEP_SHA_1 RSAES_OAEP_SHA_256",
		"RSA_3072 SIGN_VERIFY":                rsaSigning,
		"RSA_4096 ENCRYPT_DECRYPT":            "RSAES_OAEP_SHA_1 RSAES_OAEP_SHA_256",
		"RSA_4096 SIGN_VERIFY":                rsaSigning,
		"ECC_NIST_P256 SIGN_VERIFY":           "ECDSA_SHA_256",
		"ECC_NIST_P256 KEY_AGREEMENT":         "ECDH",
		"ECC_NIST_P384 SIGN_VERIFY":           "ECDSA_SHA_384",
		"ECC_NIST_P384 KEY_AGREEMENT":         "ECDH",
		"ECC_NIST_P521 SIGN_VERIFY":           "ECDSA_SHA_512",
		"ECC_NIST_P521 KEY_AGREEMENT":         "ECDH",
		"ECC_SECG_P256K1 SIGN_VERIFY":         "ECDSA_SHA_256",
		"ECC_NIST_EDWARDS25519 SIGN_VERIFY":   "ED25519_SHA_512 ED25519_PH_SHA_512",
		"HMAC_224 GENERATE_VERIFY_MAC":        "HMAC_SHA_224",
		"HMAC_256 GENERATE_VERIFY_MAC":        "HMAC_SHA_256",
		"HMAC_384 GENERATE_VERIFY_MAC":        "HMAC_SHA_384",
		"HMAC_512 GENERATE_VERIFY_MAC":        "HMAC_SHA_512",
		"ML_DSA_44 SIGN_VERIFY":               "ML_DSA_SHAKE_256",
		"ML_DSA_65 SIGN_VERIFY":               "ML_DSA_SHAKE_256",
		"ML_DSA_87 SIGN_VERIFY":               "ML_DSA_SHAKE_256",
		"ML_KEM_512 ENCAPSULATE_DECAPSULATE":  "ML_KEM",
		"ML_KEM_768 ENCAPSULATE_DECAPSULATE":  "ML_KEM",
		"ML_KEM_1024 ENCAPSULATE_DECAPSULATE": "ML_KEM",
		"SM2 ENCRYPT_DECRYPT":                 "SM2PKE",
		"SM2 SIGN_VERIFY":                     "SM2DSA",
		"SM2 KEY_AGREEMENT":                   "ECDH",
	}
	rows := 0
	for _, spec := range Specs() {
		for _, use := range spec.Uses {
			var listed []string
			for _, list := range [][]string{values(use.Encryption), values(use.Signing), values(use.Mac),
				values(use.KeyAgreement), values(use.Encapsulation)} {
				if len(list) > 0 && listed != nil {
					t.Errorf("%s %s has two lists", spec.KeySpec, use.Usage)
				}
				listed = append(listed, list...)
			}
			row := string(spec.KeySpec) + " " + string(use.Usage)
			if got := strings.Join(listed, " "); got != reference[row] {
				t.Errorf("%s: got %q, want %q", row, got, reference[row])
			}
			for _, algorithm := range listed {
				if err := spec.CheckAlgorithm(use.Usage, algorithm); err != nil {
					t.Error(err)
				}
			}
			rows++
		}
	}
	if rows != len(reference) {
		t.Errorf("%d rows, want %d", rows, len(reference))
	}
}

func TestEverySpecHasItsRow(t *testing.T) {
	for _, name := range ruleKeySpec.values {
		spec, ok := SpecOf(KeySpec(name))
		if !ok || spec.KeySpec != KeySpec(name) {
			t.Errorf("no row for %s", name)
		}
		symmetric := name == "SYMMETRIC_DEFAULT"
		if spec.Rotates != symmetric || (spec.DefaultUsage != "") != symmetric {
			t.Errorf("%s: only symmetric encryption keys rotate and have a default usage", name)
		}
		if (spec.Import == ImportRaw) == spec.Family.Asymmetric() && spec.Import != ImportNone {
			t.Errorf("%s: import form %q", name, spec.Import)
		}
		if spec.Family == FamilyHMAC && spec.ImportMin*8 != spec.Bits {
			t.Errorf("%s: imports from %d bytes", name, spec.ImportMin)
		}
	}
	if len(Specs()) != len(ruleKeySpec.values) {
		t.Errorf("%d rows for %d key specs", len(Specs()), len(ruleKeySpec.values))
	}
	if _, ok := SpecOf("AES_256"); ok {
		t.Error("a data key spec is not a key spec")
	}
}

func TestSpecErrors(t *testing.T) {
	hmac, _ := SpecOf(KeySpecHmac224)
	checkError(t, hmac.CheckAlgorithm(KeyUsageTypeGenerateVerifyMac, "HMAC_SHA_256"), InvalidKeyUsageException,
		"Algorithm HMAC_SHA_256 is incompatible with key spec HMAC_224.")
	rsa, _ := SpecOf(KeySpecRsa2048)
	checkError(t, rsa.CheckAlgorithm(KeyUsageTypeSignVerify, "RSAES_OAEP_SHA_1"), InvalidKeyUsageException,
		"Algorithm RSAES_OAEP_SHA_1 is incompatible with key spec RSA_2048.")
	_, err := rsa.ResolveUsage(KeyUsageTypeKeyAgreement)
	checkError(t, err, ValidationException, "KeyUsage KEY_AGREEMENT is not compatible with KeySpec RSA_2048")
	_, err = rsa.ResolveUsage("")
	checkError(t, err, ValidationException,
		"You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.")
	symmetric, _ := SpecOf(KeySpecSymmetricDefault)
	if usage, err := symmetric.ResolveUsage(""); err != nil || usage != KeyUsageTypeEncryptDecrypt {
		t.Errorf("%s, %v", usage, err)
	}
}

func TestCheckUsage(t *testing.T) {
	const arn = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	checkError(t, CheckUsage("GenerateMac", arn, KeyUsageTypeEncryptDecrypt), InvalidKeyUsageException,
		arn+" key usage is ENCRYPT_DECRYPT which is not valid for GenerateMac.")
	checkError(t, CheckUsage("Decrypt", arn, KeyUsageTypeSignVerify), IncorrectKeyException,
		"The key ID in the request does not identify a CMK that can perform this operation.")
	for _, op := range []string{"Encrypt", "Decrypt", "GenerateDataKey", "DescribeKey", "GetPublicKey"} {
		if err := CheckUsage(op, arn, KeyUsageTypeEncryptDecrypt); err != nil {
			t.Errorf("%s: %v", op, err)
		}
	}
	for op := range usageOf {
		if _, ok := OperationByName(op); !ok {
			t.Errorf("%s is no operation", op)
		}
	}
}
