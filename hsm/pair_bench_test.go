package hsm_test

import (
	"crypto/sha256"
	"testing"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
)

// benchSign compares Sign with the call of the token alone, and Sign by 32 goroutines. whole says that
// the token hashes what it signs.
func benchSign(b *testing.B, spec kms.KeySpec, algorithm kms.SigningAlgorithmSpec, whole bool) {
	d := hsmtest.Domain(b)
	m := newPair(b, d, spec, kms.KeyUsageTypeSignVerify)
	digest := sha256.Sum256([]byte("message"))
	in := hsm.SignInput{Message: digest[:], Digest: !whole}
	sign := func(b *testing.B) {
		if _, err := d.Sign(b.Context(), &m, spec, algorithm, in); err != nil {
			b.Error(err)
		}
	}
	sign(b)
	b.Run("hsm", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sign(b)
		}
	})
	b.Run("hsm-32", func(b *testing.B) {
		b.SetParallelism(16) // times GOMAXPROCS
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				sign(b)
			}
		})
	})
	b.Run("raw", func(b *testing.B) {
		b.ReportAllocs()
		hsm.RawSign(b, d, &m, algorithm, digest[:])
	})
}

func BenchmarkSignP256(b *testing.B) {
	benchSign(b, kms.KeySpecEccNistP256, kms.SigningAlgorithmSpecEcdsaSha256, false)
}

func BenchmarkSignEd25519(b *testing.B) { benchSign(b, edSpec, edAlgorithm, true) }

func BenchmarkSignPSS2048(b *testing.B) {
	benchSign(b, kms.KeySpecRsa2048, kms.SigningAlgorithmSpecRsassaPssSha256, false)
}

func BenchmarkHMAC(b *testing.B) {
	d := hsmtest.Domain(b)
	m := newSecret(b, d, kms.KeySpecHmac256)
	message := make([]byte, 32)
	mac := func(b *testing.B) {
		if _, err := d.GenerateMac(b.Context(), &m, kms.MacAlgorithmSpecHmacSha256, message); err != nil {
			b.Error(err)
		}
	}
	mac(b)
	b.Run("hsm", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			mac(b)
		}
	})
	b.Run("raw", func(b *testing.B) {
		b.ReportAllocs()
		hsm.RawMAC(b, d, &m, message)
	})
}
