package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/kms11/kms11/hsm"
)

// others are the permissions of everybody but a file's owner.
const others fs.FileMode = 0o077

// exposed says whether others than its owner may do anything with a file, through symbolic links, and its
// mode. One that is not there is exposed to nobody: who needs it says so.
func exposed(path string) (mode fs.FileMode, is bool, err error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, false, nil
	case err != nil:
		return 0, false, err
	}
	mode = info.Mode()
	return mode.Perm(), mode.IsRegular() && mode&others != 0, nil
}

// refuseExposed refuses to go on with secrets that kms11 wrote for its own user and that others have been let
// at since, as OpenSSH does with private keys.
func refuseExposed(p paths) error {
	for _, path := range []string{p.userPIN, p.soPIN, p.adminEnv} {
		mode, is, err := exposed(path)
		if err != nil {
			return err
		}
		if is {
			return usageError{fmt.Errorf("%s has the mode %04o, which lets others than its owner at a secret: chmod 600 %s", path, mode, shellQuote(path))}
		}
	}
	return nil
}

// warnExposed tells of secrets in files that somebody else mounts or writes, whose modes kms11 does not
// choose.
func warnExposed(files []secretFile, log *slog.Logger) {
	for _, f := range files {
		// One that cannot be looked at cannot be read either, which whoever reads it says.
		if mode, is, err := exposed(f.path); err == nil && is {
			log.Warn("others than its owner are let at a file with a secret", "setting", f.setting, "file", f.path, "mode", fmt.Sprintf("%04o", mode))
		}
	}
}

// secretFile is a file with a secret that a setting names.
type secretFile struct{ setting, path string }

// secretFiles are those that the settings name.
func (c *Config) secretFiles() (files []secretFile) {
	add := func(setting string, values ...string) {
		for _, value := range values {
			if strings.HasPrefix(value, "pkcs11:") {
				uri, err := hsm.ParseURI(value)
				if err != nil { // as check has seen to
					continue
				}
				value = uri.PINFile()
			}
			if f := (secretFile{setting, value}); value != "" && !slices.Contains(files, f) {
				files = append(files, f)
			}
		}
	}
	add("tls.key", c.TLS.Key)
	add("tokens", c.Tokens...)
	for _, region := range slices.Sorted(maps.Keys(c.RegionTokens)) {
		add("regiontokens", c.RegionTokens[region]...)
	}
	add("xks.tls.key", c.XKS.TLS.Key)
	add("xks.tokens", c.XKS.Tokens...)
	add("xks.credentials", c.XKS.Credentials...)
	add("metrics.tls.key", c.Metrics.TLS.Key)
	add("keystores.external.key", c.KeyStores.External.Key)
	add("audit.http.tokenfile", c.Audit.HTTP.TokenFile)
	return files
}
