package attest_test

import (
	"testing"

	"github.com/kms11/kms11/attest"
	"github.com/kms11/kms11/attest/attesttest"
)

func BenchmarkVerify(b *testing.B) {
	chain := attesttest.NewChain(b, now)
	document := chain.Document(b, claimsOf(b, chain))
	v := verifier(chain.Roots())
	for b.Loop() {
		if _, err := v.Verify(document); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEnvelopedData(b *testing.B) {
	key := &recipientKey().PublicKey
	for b.Loop() {
		if _, err := attest.EnvelopedData(key, plaintext(32)); err != nil {
			b.Fatal(err)
		}
	}
}
