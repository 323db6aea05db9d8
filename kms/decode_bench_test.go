package kms

import "testing"

// BenchmarkDecodeEncrypt is the hottest request: 32 bytes of plaintext and a small context.
func BenchmarkDecodeEncrypt(b *testing.B) {
	for name, body := range map[string]string{
		"bare":    `{"KeyId":"1234abcd-12ab-34cd-56ef-1234567890ab","Plaintext":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}`,
		"context": `{"EncryptionContext":{"purpose":"benchmark","tenant":"t-0001"},"KeyId":"arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab","Plaintext":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}`,
	} {
		b.Run(name, func(b *testing.B) {
			text := []byte(body)
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				var r EncryptRequest
				if err := r.Decode(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
