package hsm

import (
	"fmt"

	"github.com/miekg/pkcs11"
)

// Mechanisms and types of PKCS#11 3.x that the binding, which is at 2.40, does not name.
const (
	ckmAESKeyWrapKWP      = 0x210B
	ckmECEdwardsKeyPair   = 0x1055
	ckmEDDSA              = 0x1057
	ckmSP800108Counter    = 0x3AC
	ckmMLDSAKeyPair       = 0x1C
	ckmMLDSA              = 0x1D
	ckmMLKEMKeyPair       = 0x0F
	ckmMLKEM              = 0x17
	ckkMLKEM              = 0x49
	ckkMLDSA              = 0x4A
	ckkECEdwards          = 0x40
	ckmVendorDefined      = 0x80000000
	ckaParameterSet       = 0x61D
	ckaEncapsulate        = 0x633
	ckaDecapsulate        = 0x634
	ckaSeed               = 0x637
	ckpMLDSA44            = 1
	ckhHedgeRequired      = 1
	ckSP800108IterationID = 1 // CK_SP800_108_ITERATION_VARIABLE
	ckSP800108ByteArrayID = 4 // CK_SP800_108_BYTE_ARRAY
	// PKCS#11 3.2 has no mechanism that signs mu; this is the number in the draft of the next version.
	ckmMLDSAExternalMu = 0x403C
)

// mechanismNames are the mechanisms this package uses, for error texts.
var mechanismNames = map[uint]string{
	pkcs11.CKM_AES_GCM:                "CKM_AES_GCM",
	pkcs11.CKM_AES_ECB:                "CKM_AES_ECB",
	pkcs11.CKM_AES_CMAC:               "CKM_AES_CMAC",
	pkcs11.CKM_AES_KEY_GEN:            "CKM_AES_KEY_GEN",
	pkcs11.CKM_AES_KEY_WRAP:           "CKM_AES_KEY_WRAP",
	pkcs11.CKM_AES_KEY_WRAP_PAD:       "CKM_AES_KEY_WRAP_PAD",
	ckmAESKeyWrapKWP:                  "CKM_AES_KEY_WRAP_KWP",
	pkcs11.CKM_AES_ECB_ENCRYPT_DATA:   "CKM_AES_ECB_ENCRYPT_DATA",
	pkcs11.CKM_AES_CBC_ENCRYPT_DATA:   "CKM_AES_CBC_ENCRYPT_DATA",
	ckmSP800108Counter:                "CKM_SP800_108_COUNTER_KDF",
	pkcs11.CKM_GENERIC_SECRET_KEY_GEN: "CKM_GENERIC_SECRET_KEY_GEN",
	pkcs11.CKM_SHA256_HMAC:            "CKM_SHA256_HMAC",
	pkcs11.CKM_SHA384_HMAC:            "CKM_SHA384_HMAC",
	pkcs11.CKM_SHA512_HMAC:            "CKM_SHA512_HMAC",
	pkcs11.CKM_SHA224_HMAC:            "CKM_SHA224_HMAC",
	pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN:  "CKM_RSA_PKCS_KEY_PAIR_GEN",
	pkcs11.CKM_RSA_PKCS_OAEP:          "CKM_RSA_PKCS_OAEP",
	pkcs11.CKM_RSA_AES_KEY_WRAP:       "CKM_RSA_AES_KEY_WRAP",
	pkcs11.CKM_RSA_X_509:              "CKM_RSA_X_509",
	pkcs11.CKM_RSA_PKCS:               "CKM_RSA_PKCS",
	pkcs11.CKM_RSA_PKCS_PSS:           "CKM_RSA_PKCS_PSS",
	pkcs11.CKM_SHA256_RSA_PKCS:        "CKM_SHA256_RSA_PKCS",
	pkcs11.CKM_SHA256_RSA_PKCS_PSS:    "CKM_SHA256_RSA_PKCS_PSS",
	pkcs11.CKM_EC_KEY_PAIR_GEN:        "CKM_EC_KEY_PAIR_GEN",
	pkcs11.CKM_ECDSA:                  "CKM_ECDSA",
	pkcs11.CKM_ECDSA_SHA256:           "CKM_ECDSA_SHA256",
	pkcs11.CKM_ECDH1_DERIVE:           "CKM_ECDH1_DERIVE",
	ckmECEdwardsKeyPair:               "CKM_EC_EDWARDS_KEY_PAIR_GEN",
	ckmEDDSA:                          "CKM_EDDSA",
	ckmMLDSAKeyPair:                   "CKM_ML_DSA_KEY_PAIR_GEN",
	ckmMLDSA:                          "CKM_ML_DSA",
	ckmMLDSAExternalMu:                "CKM_ML_DSA_EXTERNAL_MU",
	ckmMLKEMKeyPair:                   "CKM_ML_KEM_KEY_PAIR_GEN",
	ckmMLKEM:                          "CKM_ML_KEM",
}

// mechanismName is the CKM name of a mechanism, or its number.
func mechanismName(m uint) string {
	if name, ok := mechanismNames[m]; ok {
		return name
	}
	return fmt.Sprintf("mechanism 0x%X", m)
}

func mechanism(m uint, parameter any) []*pkcs11.Mechanism {
	return []*pkcs11.Mechanism{pkcs11.NewMechanism(m, parameter)}
}
