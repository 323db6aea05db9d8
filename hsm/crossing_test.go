package hsm_test

import (
	"testing"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
)

func TestCrossingAnswers(t *testing.T)      { hsm.CheckAnswers(t, hsmtest.Token(t)) }
func TestCrossingFailures(t *testing.T)     { hsm.CheckFailures(t, hsmtest.Token(t)) }
func TestCrossingSmallBuffers(t *testing.T) { hsm.CheckSmallBuffers(t, hsmtest.Token(t)) }

// BenchmarkCalls compares single calls by the crossing with the same by the binding.
func BenchmarkCalls(b *testing.B) { hsm.BenchCalls(b, hsmtest.Token(b)) }
