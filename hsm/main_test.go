package hsm_test

import (
	"testing"

	"github.com/kms11/kms11/hsm/hsmtest"
)

func TestMain(m *testing.M) { hsmtest.Main(m) }
