package kms

// specs is the key spec reference of the AWS KMS Developer Guide ("Key spec reference", 2026).
// Nothing writes to it. The order of the algorithms is the order AWS lists them in: clients such
// as cosign use the first signing algorithm.
var specs = [...]Spec{
	{KeySpec: KeySpecSymmetricDefault, Family: FamilySymmetric, Bits: 256, DefaultUsage: KeyUsageTypeEncryptDecrypt,
		Uses:   []Use{encrypts(EncryptionAlgorithmSpecSymmetricDefault)},
		Import: ImportRaw, ImportMin: 32, ImportMax: 32, Rotates: true},

	{KeySpec: KeySpecRsa2048, Family: FamilyRSA, Bits: 2048, Uses: rsaUses, Import: ImportPKCS8},
	{KeySpec: KeySpecRsa3072, Family: FamilyRSA, Bits: 3072, Uses: rsaUses, Import: ImportPKCS8},
	{KeySpec: KeySpecRsa4096, Family: FamilyRSA, Bits: 4096, Uses: rsaUses, Import: ImportPKCS8},

	{KeySpec: KeySpecEccNistP256, Family: FamilyECC, Bits: 256, Import: ImportPKCS8,
		Uses: []Use{signs(SigningAlgorithmSpecEcdsaSha256), agrees}},
	{KeySpec: KeySpecEccNistP384, Family: FamilyECC, Bits: 384, Import: ImportPKCS8,
		Uses: []Use{signs(SigningAlgorithmSpecEcdsaSha384), agrees}},
	{KeySpec: KeySpecEccNistP521, Family: FamilyECC, Bits: 521, Import: ImportPKCS8,
		Uses: []Use{signs(SigningAlgorithmSpecEcdsaSha512), agrees}},
	{KeySpec: KeySpecEccSecgP256k1, Family: FamilyECC, Bits: 256, Import: ImportPKCS8,
		Uses: []Use{signs(SigningAlgorithmSpecEcdsaSha256)}},
	{KeySpec: KeySpecEccNistEdwards25519, Family: FamilyEdwards, Bits: 255, Import: ImportPKCS8,
		Uses: []Use{signs(SigningAlgorithmSpecEd25519Sha512, SigningAlgorithmSpecEd25519PhSha512)}},

	{KeySpec: KeySpecHmac224, Family: FamilyHMAC, Bits: 224, Uses: []Use{macs(MacAlgorithmSpecHmacSha224)},
		Import: ImportRaw, ImportMin: 28, ImportMax: maxHMACImport},
	{KeySpec: KeySpecHmac256, Family: FamilyHMAC, Bits: 256, Uses: []Use{macs(MacAlgorithmSpecHmacSha256)},
		Import: ImportRaw, ImportMin: 32, ImportMax: maxHMACImport},
	{KeySpec: KeySpecHmac384, Family: FamilyHMAC, Bits: 384, Uses: []Use{macs(MacAlgorithmSpecHmacSha384)},
		Import: ImportRaw, ImportMin: 48, ImportMax: maxHMACImport},
	{KeySpec: KeySpecHmac512, Family: FamilyHMAC, Bits: 512, Uses: []Use{macs(MacAlgorithmSpecHmacSha512)},
		Import: ImportRaw, ImportMin: 64, ImportMax: maxHMACImport},

	{KeySpec: KeySpecMlDsa44, Family: FamilyMLDSA, Bits: 44, Uses: []Use{signs(SigningAlgorithmSpecMlDsaShake256)}},
	{KeySpec: KeySpecMlDsa65, Family: FamilyMLDSA, Bits: 65, Uses: []Use{signs(SigningAlgorithmSpecMlDsaShake256)}},
	{KeySpec: KeySpecMlDsa87, Family: FamilyMLDSA, Bits: 87, Uses: []Use{signs(SigningAlgorithmSpecMlDsaShake256)}},

	// Whether ML-KEM material can be imported is not documented; no is the safe reading.
	{KeySpec: KeySpecMlKem512, Family: FamilyMLKEM, Bits: 512, Uses: []Use{encapsulates}},
	{KeySpec: KeySpecMlKem768, Family: FamilyMLKEM, Bits: 768, Uses: []Use{encapsulates}},
	{KeySpec: KeySpecMlKem1024, Family: FamilyMLKEM, Bits: 1024, Uses: []Use{encapsulates}},

	{KeySpec: KeySpecSm2, Family: FamilySM2, Bits: 256, Import: ImportPKCS8,
		Uses: []Use{encrypts(EncryptionAlgorithmSpecSm2pke), signs(SigningAlgorithmSpecSm2dsa), agrees}},
}

// maxHMACImport is 1024 bits: the longest HMAC key that may be imported.
const maxHMACImport = 128

var (
	rsaUses = []Use{
		encrypts(EncryptionAlgorithmSpecRsaesOaepSha1, EncryptionAlgorithmSpecRsaesOaepSha256),
		signs(SigningAlgorithmSpecRsassaPkcs1V15Sha256, SigningAlgorithmSpecRsassaPkcs1V15Sha384,
			SigningAlgorithmSpecRsassaPkcs1V15Sha512, SigningAlgorithmSpecRsassaPssSha256,
			SigningAlgorithmSpecRsassaPssSha384, SigningAlgorithmSpecRsassaPssSha512),
	}
	agrees = Use{Usage: KeyUsageTypeKeyAgreement,
		KeyAgreement: []KeyAgreementAlgorithmSpec{KeyAgreementAlgorithmSpecEcdh}}
	encapsulates = Use{Usage: KeyUsageTypeEncapsulateDecapsulate,
		Encapsulation: []EncapsulationAlgorithmSpec{EncapsulationAlgorithmSpecMlKem}}
)

func encrypts(algorithms ...EncryptionAlgorithmSpec) Use {
	return Use{Usage: KeyUsageTypeEncryptDecrypt, Encryption: algorithms}
}

func signs(algorithms ...SigningAlgorithmSpec) Use {
	return Use{Usage: KeyUsageTypeSignVerify, Signing: algorithms}
}

func macs(algorithms ...MacAlgorithmSpec) Use {
	return Use{Usage: KeyUsageTypeGenerateVerifyMac, Mac: algorithms}
}
