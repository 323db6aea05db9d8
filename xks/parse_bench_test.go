package xks

import "testing"

// BenchmarkParse reads a request as AWS KMS sends it.
func BenchmarkParse(b *testing.B) {
	body := []byte(`{"requestMetadata":{"awsPrincipalArn":"arn:aws:iam::123456789012:user/Alice","kmsKeyArn":"arn:aws:kms:us-east-2:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",` +
		`"kmsOperation":"GenerateDataKey","kmsRequestId":"4112f4d6-db54-4af4-ae30-c55a22a8dfae"},"additionalAuthenticatedData":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",` +
		`"plaintext":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","encryptionAlgorithm":"AES_GCM"}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parse(opEncrypt, body); err != nil {
			b.Fatal(err)
		}
	}
}
