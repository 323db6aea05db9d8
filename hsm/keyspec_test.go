package hsm_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
)

// TestEverySpecHasARow keeps the tables of kms and hsm together.
func TestEverySpecHasARow(t *testing.T) {
	rows := hsm.KeySpecRows()
	for _, spec := range kms.Specs() {
		if n := len(rows); slices.Index(rows, spec.KeySpec) < 0 {
			t.Errorf("%s has none of the %d rows of a token", spec.KeySpec, n)
		}
	}
	if len(rows) != len(kms.Specs()) {
		t.Errorf("%d rows for %d key specs", len(rows), len(kms.Specs()))
	}
}

// algorithms are the names of all algorithms of a usage.
func algorithms(u kms.Use) []string {
	var names []string
	for _, a := range u.Encryption {
		names = append(names, string(a))
	}
	for _, a := range u.Signing {
		names = append(names, string(a))
	}
	for _, a := range u.Mac {
		names = append(names, string(a))
	}
	for _, a := range u.KeyAgreement {
		names = append(names, string(a))
	}
	for _, a := range u.Encapsulation {
		names = append(names, string(a))
	}
	return names
}

// TestSupports pins what the token does: everything but what hsmtest says that it lacks.
func TestSupports(t *testing.T) {
	d := hsmtest.Domain(t)
	cannot := map[string]string{}
	for prefix, c := range map[string]struct {
		need hsmtest.Need
		name string
	}{
		"ML_DSA": {hsmtest.MLDSA, "CKM_ML_DSA"}, "ML_KEM": {hsmtest.MLKEM, "CKM_ML_KEM"}, "SM2": {hsmtest.SM2, "CKM_EC_KEY_PAIR_GEN"},
		"ECC_SECG": {hsmtest.Secp256k1, "CKM_EC_KEY_PAIR_GEN"}, "ECC_NIST_EDWARDS": {hsmtest.Ed25519, "CKM_EC_EDWARDS_KEY_PAIR_GEN"},
	} {
		if !hsmtest.Has(c.need) {
			cannot[prefix] = c.name
		}
	}
	for _, spec := range kms.Specs() {
		var missing string
		for prefix, name := range cannot {
			if strings.HasPrefix(string(spec.KeySpec), prefix) {
				missing = name
			}
		}
		for _, use := range spec.Uses {
			missing := missing
			if missing == "" && slices.Contains(use.Signing, kms.SigningAlgorithmSpecSm2dsa) {
				missing = "x-kms11-sm2dsa"
			}
			for _, algorithm := range algorithms(use) {
				want := missing == "" && (algorithm != string(kms.SigningAlgorithmSpecEd25519PhSha512) || hsmtest.Has(hsmtest.Ed25519ph))
				if got := d.Supports(spec.KeySpec, algorithm); got != want {
					t.Errorf("%s with %s: %t", algorithm, spec.KeySpec, got)
				}
			}
			if missing == "" {
				continue
			}
			_, err := d.GenerateKey(t.Context(), hsm.KeyRequest{Spec: spec.KeySpec, Usage: use.Usage})
			if !errors.Is(err, hsm.ErrUnsupported) || !strings.Contains(err.Error(), missing) {
				t.Errorf("GenerateKey of %s: %v", spec.KeySpec, err)
			}
		}
	}
	if d.Supports(kms.KeySpecRsa2048, "ECDSA_SHA_256") || d.Supports("NONE", "HMAC_SHA_256") {
		t.Error("what does not exist is supported")
	}
	for _, r := range []hsm.KeyRequest{
		{Spec: kms.KeySpecRsa2048},
		{Spec: kms.KeySpecRsa2048, Usage: kms.KeyUsageTypeGenerateVerifyMac},
	} {
		if _, err := d.GenerateKey(t.Context(), r); err == nil {
			t.Errorf("GenerateKey of %s for %q", r.Spec, r.Usage)
		}
	}
}

// TestPairMaterial looks at what is kept of a wrapped private key.
func TestPairMaterial(t *testing.T) {
	hsmtest.Require(t, hsmtest.WrappedEC)
	token := hsmtest.Token(t)
	d := hsmtest.Domain(t, token)
	before := len(hsm.Objects(t, token))
	for _, spec := range []kms.KeySpec{kms.KeySpecRsa2048, kms.KeySpecEccNistP256, kms.KeySpecEccNistP384, kms.KeySpecEccNistP521, kms.KeySpecEccSecgP256k1} {
		if !hasSpec(spec) {
			continue
		}
		m := newPair(t, d, spec, kms.KeyUsageTypeSignVerify)
		if len(m.ID) != 64 || m.Wrap != kms.AESKeyWrapPad || m.DomainKey != 1 || m.Length != 0 || m.Scheme != "" ||
			len(m.Blob)%8 != 0 || m.ObjectID != nil || m.Ordinal != 0 {
			t.Errorf("%s: %+v", spec, m)
		}
	}
	if n := len(hsm.Objects(t, token)); n != before {
		t.Errorf("%d objects before, %d after", before, n)
	}
}
