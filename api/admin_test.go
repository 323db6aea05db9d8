package api

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSocketOfALongPath holds that the admin socket works where its path is longer than a socket
// address can be, and that only its owner can open it.
func TestSocketOfALongPath(t *testing.T) {
	for _, name := range []string{"short", strings.Repeat("long", 40)} {
		dir := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "admin.sock")
		listener, err := listenPrivate(path)
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.NotFoundHandler(), ReadTimeout: time.Second}
		go func() { _ = server.Serve(listener) }()
		response, err := AdminClient(path).Get("http://kms11/status")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		info, err := os.Lstat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 1 {
			t.Errorf("%s: %d entries beside the socket", name, len(entries)-1)
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	}
}
