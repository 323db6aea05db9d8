package integration_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kms11/kms11/integration/kms11test"
)

// TestExposedSecretsAreRefused: the files that kms11 writes for its own user alone have to be so at a start, and
// the refusal says what to do. Of files that are mounted it warns.
func TestExposedSecretsAreRefused(t *testing.T) {
	config := kms11test.Write(t, t.TempDir(), "kms11.yaml", "")
	server := kms11test.Start(t, "--config", config)
	server.Stop(t)
	for _, name := range []string{"token/user.pin", "token/so.pin", "admin.env"} {
		path := filepath.Join(server.Dir, name)
		for _, mode := range []os.FileMode{0o640, 0o604} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
			wantRefusal(t, exitUsage, "chmod 600 '"+path+"'", "serve", "--data", server.Dir, "--listen", "127.0.0.1:0")
		}
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("mounted-secret-mounted-secret-mounted-s3"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(secret, 0o644); err != nil {
		t.Fatal(err)
	}
	identities := t.TempDir()
	kms11test.Write(t, identities, "users.yaml", "users:\n  - account: '"+kms11test.Account+"'\n    name: mounted\n    accessKeys: [{id: AKIAMOUNTEDMOUNTED11, secretFile: '"+secret+"'}]\n")
	kms11test.Write(t, filepath.Dir(config), "kms11.yaml", "identities: '"+identities+"'\n")
	server.Restart(t)
	if log := server.Log(t); !strings.Contains(log, "setting=identities file="+secret+" mode=0644") || strings.Contains(log, "mounted-secret") {
		t.Errorf("no warning of a mounted secret, or one with it:\n%s", log)
	}
}
