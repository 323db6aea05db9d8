package tokens_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kms11/kms11/integration/kms11test"
)

// needed are what a token has to do one of, by the probe, for a domain to be made on it: something to
// encrypt with, and something to wrap keys with.
var needed = map[string][]string{
	"encrypt": {"AES-256-GCM", "message keys by scheme ecb", "message keys by scheme sp800-108"},
	"wrap":    {"mechanism 0x2109 is RFC3394", "mechanism 0x210B is RFC5649", "mechanism 0x210A is RFC5649"},
}

// TestRefused holds kms11 to what it says of a token on which no domain can be made.
func TestRefused(t *testing.T) {
	uri := os.Getenv("KMS11_TOKEN")
	if uri == "" {
		t.Fatal("KMS11_TOKEN names no token: `make test-tokens` does")
	}
	t.Run("probe", func(t *testing.T) { testRefusedProbe(t, uri) })
	config := configOf(t, uri)
	data := filepath.Join(t.TempDir(), "data")
	t.Run("init", func(t *testing.T) {
		out, code := kms11test.Command(t, "init", "--data", data, "--config", config, "--account", kms11test.Account)
		if code == 0 || !strings.Contains(out, "not supported by the token: no common way to encrypt") || !strings.Contains(out, "CKR_") {
			t.Fatalf("init ends with %d: %s", code, out)
		}
		// Of the reasons the last is that of the scheme that asks least.
		reason := out[strings.LastIndex(out, "scheme direct on "):]
		_, reason, _ = strings.Cut(reason, ": ")
		t.Logf("refused by init: no common way to encrypt: %s", strings.TrimSpace(reason))
	})
	t.Run("serve", func(t *testing.T) {
		// A keystore that was made with another token, SoftHSM2, and is served with this one.
		if out, code := kms11test.Command(t, "init", "--data", data, "--account", kms11test.Account); code != 0 {
			t.Fatalf("init on SoftHSM2 ends with %d: %s", code, out)
		}
		out, code := kms11test.Command(t, "serve", "--data", data, "--config", config, "--listen", "127.0.0.1:0")
		if code == 0 || !strings.Contains(out, "not supported by the token") || !strings.Contains(out, "CKR_") {
			t.Errorf("serve ends with %d: %s", code, out)
		}
	})
}

func testRefusedProbe(t *testing.T, uri string) {
	out, err := probeOf(t, uri)
	if err != nil {
		t.Fatal(err)
	}
	does := map[string]string{}
	for _, f := range out {
		if f.OK {
			does[f.Name] = "works"
		} else if f.Detail == "" {
			t.Errorf("%s does not work, and nothing says why", f.Name)
		}
	}
	for what, features := range needed {
		for _, name := range features {
			if does[name] != "" {
				t.Errorf("to %s the token has %s", what, name)
			}
		}
	}
}

type feature struct {
	Name, Area, Detail string
	OK                 bool
}

// probeOf is what `kms11 hsm probe --json` says. The library may write to standard error, which is left
// to the test's output.
func probeOf(t *testing.T, uri string) (features []feature, err error) {
	t.Helper()
	out := kms11test.Output(t, "hsm", "probe", "--json", "--token", uri)
	err = json.Unmarshal(out, &features)
	return features, err
}
