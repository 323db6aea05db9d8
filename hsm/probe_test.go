package hsm_test

import (
	"encoding/json"
	"testing"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
)

// probed is what is expected of the kinds of token: of every SoftHSM2 since 2.6.1, of NSS 3.87 and of
// NSS 3.132. The rest of the rows differ between versions, and are there for a look: go test -v -run
// Probe.
var probed = []struct {
	name                      string
	softhsm, nss, nssUnstable bool
}{
	{"AES-256-GCM", true, true, true},
	{"forged GCM tag is told from a fault", true, true, true},
	{"message keys by scheme ecb", true, true, true},
	{"message keys by scheme sp800-108", false, true, true},
	{"AES-CMAC", true, true, true},
	{"HMAC-SHA-512", true, true, true},
	{"HMAC-SHA-256 with a key shorter than the hash", false, true, true},
	{"mechanism 0x2109 is RFC3394", true, true, true},
	{"mechanism 0x210A is RFC5649", true, false, false},
	{"mechanism 0x210B is RFC5649", false, true, true},
	{"copy of a key as a session object", true, true, true},
	{"unwrap obeys SENSITIVE and EXTRACTABLE", true, true, true},
	{"EXTRACTABLE=false stops C_WrapKey", true, false, false},
	{"ALLOWED_MECHANISMS is enforced", true, false, false},
	{"UNWRAP_TEMPLATE is enforced", true, false, false},
	{"RSA-OAEP SHA-1 unwrap", true, true, true},
	{"RSA-OAEP SHA-256 unwrap", false, true, true},
	{"raw RSA decrypt (X_509)", true, true, true},
	{"RSA-PSS on a message", true, true, true},
	{"ECDSA on P-256", true, true, true},
	{"ECDSA on secp256k1", true, false, false},
	{"ECDSA on SM2 curve", true, false, false},
	{"Ed25519", true, false, true},
	{"P-256 private key", true, false, true},
	{"ML-DSA-44", false, false, true},
	{"ML-KEM-768", false, false, true},
	{"ECDH on P-256 with a readable secret", true, true, true},
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
		name, want := row.name, row.softhsm
		switch hsmtest.Kind() {
		case "nss":
			want = row.nss
		case "nss-unstable":
			want = row.nssUnstable
		}
		if got, ok := does[name]; !ok || got != want {
			t.Errorf("%s: %t, row present %t", name, got, ok)
		}
	}
	if b, err := json.Marshal(features[0]); err != nil || string(b) != `{"name":"AES-256-GCM","area":"encryption","ok":true}` {
		t.Errorf("JSON: %s, %v", b, err)
	}
}
