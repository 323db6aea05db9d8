package xks

import "github.com/kms11/kms11/ops"

// verdictOn says what an AWS KMS answers its caller for an error of a Client. It is what this service
// answers in its place.
func verdictOn(err error) ops.ProxyVerdict {
	v, _ := ops.VerdictOn(fault(err))
	return v
}

func ofStore(v ops.ProxyVerdict) string {
	return "CreateCustomKeyStore and UpdateCustomKeyStore: " + string(v.Management) + ": " + v.Text
}

func ofKey(v ops.ProxyVerdict) string { return "CreateKey: " + string(v.CreateKey) + ": " + v.Text }

func ofCrypto(v ops.ProxyVerdict) string {
	return "Encrypt, Decrypt, GenerateDataKey, ReEncrypt: " + string(v.Crypto) + ": " + v.Text
}
