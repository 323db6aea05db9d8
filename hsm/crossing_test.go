package hsm_test

import (
	"testing"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
)

func TestCrossingAnswers(t *testing.T) {
	hsmtest.Require(t, hsmtest.Sizes)
	hsm.CheckAnswers(t, hsmtest.Token(t))
}

func TestCrossingFailures(t *testing.T) {
	hsmtest.Require(t, hsmtest.SoftHSMCodes)
	hsm.CheckFailures(t, hsmtest.Token(t))
}

func TestCrossingSmallBuffers(t *testing.T) {
	hsmtest.Require(t, hsmtest.Sizes)
	hsm.CheckSmallBuffers(t, hsmtest.Token(t))
}

// BenchmarkCalls compares single calls by the crossing with the same by the binding.
func BenchmarkCalls(b *testing.B) { hsm.BenchCalls(b, hsmtest.Token(b)) }
