package hsm_test

import (
	"encoding/json"
	"testing"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
)

// TestProbe holds what every SoftHSM2 since 2.6.1 does. The rest of the rows differ between its
// versions, and are there for a look: go test -v -run Probe.
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
	for name, want := range map[string]bool{
		"AES-256-GCM":                                   true,
		"forged GCM tag is told from a fault":           true,
		"message keys by scheme ecb":                    true,
		"message keys by scheme sp800-108":              false,
		"AES-CMAC":                                      true,
		"HMAC-SHA-512":                                  true,
		"HMAC-SHA-256 with a key shorter than the hash": false,
		"mechanism 0x2109 is RFC3394":                   true,
		"mechanism 0x210A is RFC5649":                   true,
		"mechanism 0x210B is RFC5649":                   false,
		"copy of a key as a session object":             true,
		"unwrap obeys SENSITIVE and EXTRACTABLE":        true,
		"EXTRACTABLE=false stops C_WrapKey":             true,
		"ALLOWED_MECHANISMS is enforced":                true,
		"UNWRAP_TEMPLATE is enforced":                   true,
		"RSA-OAEP SHA-1 unwrap":                         true,
		"RSA-OAEP SHA-256 unwrap":                       false,
		"raw RSA decrypt (X_509)":                       true,
		"RSA-PSS on a message":                          true,
		"ECDSA on P-256":                                true,
		"ECDSA on secp256k1":                            true,
		"Ed25519":                                       true,
		"P-256 private key":                             true,
		"ML-DSA-44":                                     false,
		"ECDH on P-256 with a readable secret":          true,
	} {
		if got, ok := does[name]; !ok || got != want {
			t.Errorf("%s: %t, row present %t", name, got, ok)
		}
	}
	if b, err := json.Marshal(features[0]); err != nil || string(b) != `{"name":"AES-256-GCM","area":"encryption","ok":true}` {
		t.Errorf("JSON: %s, %v", b, err)
	}
}
