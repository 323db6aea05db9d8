package kms

// usageOf is the key usage that an operation needs of its key. Nothing writes to it.
var usageOf = map[string]KeyUsageType{
	"Decapsulate":                         KeyUsageTypeEncapsulateDecapsulate,
	"Decrypt":                             KeyUsageTypeEncryptDecrypt,
	"DeriveSharedSecret":                  KeyUsageTypeKeyAgreement,
	"Encapsulate":                         KeyUsageTypeEncapsulateDecapsulate,
	"Encrypt":                             KeyUsageTypeEncryptDecrypt,
	"GenerateDataKey":                     KeyUsageTypeEncryptDecrypt,
	"GenerateDataKeyPair":                 KeyUsageTypeEncryptDecrypt,
	"GenerateDataKeyPairWithoutPlaintext": KeyUsageTypeEncryptDecrypt,
	"GenerateDataKeyWithoutPlaintext":     KeyUsageTypeEncryptDecrypt,
	"GenerateMac":                         KeyUsageTypeGenerateVerifyMac,
	"ReEncrypt":                           KeyUsageTypeEncryptDecrypt,
	"Sign":                                KeyUsageTypeSignVerify,
	"Verify":                              KeyUsageTypeSignVerify,
	"VerifyMac":                           KeyUsageTypeGenerateVerifyMac,
}

// CheckUsage fails if an operation cannot work on a key of the given usage: with
// IncorrectKeyException for Decrypt, with InvalidKeyUsageException for the others. Operations that
// work on keys of every usage pass. A caller that checks the source key of ReEncrypt names the
// operation Decrypt, which is how AWS answers for it.
func CheckUsage(op, keyARN string, usage KeyUsageType) error {
	need, ok := usageOf[op]
	switch {
	case !ok || need == usage:
		return nil
	case op == "Decrypt":
		return Errorf(IncorrectKeyException,
			"The key ID in the request does not identify a CMK that can perform this operation.")
	}
	return Errorf(InvalidKeyUsageException, "%s key usage is %s which is not valid for %s.", keyARN, usage, op)
}
