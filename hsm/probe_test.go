package hsm_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
)

// probed is what is expected of the tokens of every kind but those named. The rest of the rows differ between versions, and are there for a look: go test -v -run
// Probe.
var probed = []struct {
	name   string
	except []string
}{
	{"AES-256-GCM", nil},
	{"forged GCM tag is told from a fault", nil},
	{"message keys by scheme ecb", []string{"opencryptoki"}},
	{"message keys by scheme sp800-108", []string{"softhsm", "opencryptoki"}},
	{"AES-CMAC", nil},
	{"HMAC-SHA-512", nil},
	{"HMAC-SHA-256 with a key shorter than the hash", []string{"softhsm"}},
	{"mechanism 0x2109 is RFC3394", nil},
	{"mechanism 0x210A is RFC5649", []string{"nss", "nss-unstable", "opencryptoki", "kryoptic"}},
	{"mechanism 0x210B is RFC5649", []string{"softhsm"}},
	{"copy of a key as a session object", nil},
	{"unwrap obeys SENSITIVE and EXTRACTABLE", []string{"opencryptoki"}},
	{"EXTRACTABLE=false stops C_WrapKey", []string{"nss", "nss-unstable"}},
	{"ALLOWED_MECHANISMS is enforced", []string{"nss", "nss-unstable"}},
	{"UNWRAP_TEMPLATE is enforced", []string{"nss", "nss-unstable"}},
	{"RSA-OAEP SHA-1 unwrap", nil},
	{"RSA-OAEP SHA-256 unwrap", []string{"softhsm"}},
	{"raw RSA decrypt (X_509)", nil},
	{"RSA-PSS on a message", nil},
	{"ECDSA on P-256", nil},
	{"ECDSA on secp256k1", []string{"nss", "nss-unstable", "kryoptic"}},
	{"ECDSA on SM2 curve", []string{"nss", "nss-unstable", "opencryptoki", "kryoptic"}},
	{"Ed25519", []string{"nss"}},
	{"P-256 private key", []string{"nss"}},
	{"ML-DSA-44", []string{"softhsm", "nss"}},
	{"ML-KEM-768", []string{"softhsm", "nss"}},
	{"ECDH on P-256 with a readable secret", nil},
}

// TestProbe holds what the probe says.
func TestProbe(t *testing.T) {
	token := hsmtest.Token(t)
	features, err := hsm.Probe(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	if left := hsm.Objects(t, token); len(left) != 0 {
		t.Errorf("the probe leaves %v", left)
	}
	does := map[string]bool{}
	for _, f := range features {
		t.Logf("%-10s %-52s %-5t %s", f.Area, f.Name, f.OK, f.Detail)
		if _, twice := does[f.Name]; twice || f.Name == "" || f.Area == "" || !f.OK && f.Detail == "" {
			t.Errorf("row %+v", f)
		}
		does[f.Name] = f.OK
	}
	for _, row := range probed {
		want := !slices.Contains(row.except, hsmtest.Kind())
		if got, ok := does[row.name]; !ok || got != want {
			t.Errorf("%s: %t, row present %t", row.name, got, ok)
		}
	}
	if b, err := json.Marshal(features[0]); err != nil || string(b) != `{"name":"AES-256-GCM","area":"encryption","ok":true}` {
		t.Errorf("JSON: %s, %v", b, err)
	}
}
