package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestExposed: every permission of group or others counts, through links, and only of files.
func TestExposed(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode]bool{
		0o400: false, 0o600: false, 0o700: false, 0o640: true, 0o604: true, 0o620: true, 0o602: true, 0o610: true, 0o644: true, 0o440: true,
	} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{path, link} {
			if got, is, err := exposed(name); err != nil || is != want || got != mode {
				t.Errorf("%04o: %04o, %v, %v", mode, got, is, err)
			}
		}
	}
	for _, other := range []string{dir, filepath.Join(dir, "none"), "/dev/null"} {
		if _, is, err := exposed(other); err != nil || is {
			t.Errorf("%s: %v, %v", other, is, err)
		}
	}
}

// TestSecretFilesAreWarnedOf: one warning for each file with a secret that others are let at.
func TestSecretFilesAreWarnedOf(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("xyzzy"), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
		return path
	}
	pin := func(name string, mode os.FileMode) string {
		return "pkcs11:token=a?module-path=/m.so&pin-source=file:" + file(name, mode)
	}
	c := defaultConfig()
	c.TLS.Key = file("tls", 0o640)
	c.TLS.Certificate = file("certificate", 0o644)
	c.Tokens = []string{pin("pin", 0o644), pin("pin-of-its-own", 0o600), "pkcs11:token=b?module-path=/m.so&pin-source=env:PIN", "pkcs11:token=c?module-path=/m.so"}
	c.RegionTokens = RegionTokens{"eu-west-1": {pin("region", 0o444)}, "eu-west-2": {pin("region", 0o444)}}
	c.XKS = XKSConfig{TLS: TLSConfig{Key: pin("xks-tls", 0o660)}, Tokens: []string{pin("xks-token", 0o604)}, Credentials: []string{file("credential", 0o644), filepath.Join(dir, "none")}}
	c.Metrics.TLS.Key = file("metrics", 0o644)
	c.KeyStores.External.Key = file("external", 0o644)
	c.Audit.HTTP.TokenFile = file("bearer", 0o644)
	var log strings.Builder
	warnExposed(c.secretFiles(), slog.New(slog.NewTextHandler(&log, nil)))
	for _, want := range []string{
		"setting=tls.key file=" + dir + "/tls mode=0640", "setting=tokens file=" + dir + "/pin mode=0644", "setting=regiontokens file=" + dir + "/region mode=0444",
		"setting=xks.tls.key file=" + dir + "/xks-tls mode=0660", "setting=xks.tokens file=" + dir + "/xks-token mode=0604",
		"setting=xks.credentials file=" + dir + "/credential mode=0644", "setting=metrics.tls.key file=" + dir + "/metrics mode=0644",
		"setting=keystores.external.key file=" + dir + "/external mode=0644", "setting=audit.http.tokenfile file=" + dir + "/bearer mode=0644",
	} {
		if strings.Count(log.String(), want+"\n") != 1 {
			t.Errorf("no warning, or more, with %s", want)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 9 || strings.Contains(log.String(), "xyzzy") {
		t.Errorf("%d warnings:\n%s", n, log.String())
	}
}
