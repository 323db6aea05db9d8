package hsm_test

import (
	"testing"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/kms"
)

func newPair(t testing.TB, d *hsm.Domain, spec kms.KeySpec, usage kms.KeyUsageType) kms.Material {
	t.Helper()
	m, err := d.GenerateKey(t.Context(), hsm.KeyRequest{Spec: spec, Usage: usage, KeyID: "test key " + string(spec)})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func newSecret(t testing.TB, d *hsm.Domain, spec kms.KeySpec) kms.Material {
	t.Helper()
	m, err := d.GenerateKey(t.Context(), hsm.KeyRequest{Spec: spec})
	if err != nil {
		t.Fatal(err)
	}
	return m
}
