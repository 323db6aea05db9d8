package main

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/kms"
)

// tokenConfig writes a SoftHSM2 configuration for an empty token directory under dir, and gives
// the environment variable that names it.
func tokenConfig(dir string) (string, error) {
	tokens := filepath.Join(dir, "tokens")
	if err := os.MkdirAll(tokens, 0o700); err != nil {
		return "", err
	}
	file := filepath.Join(dir, "softhsm2.conf")
	text := "directories.tokendir = " + tokens + "\nobjectstore.backend = file\nlog.level = ERROR\n"
	return "SOFTHSM2_CONF=" + file, os.WriteFile(file, []byte(text), 0o600)
}

// pinVariable is where this process keeps the PIN of its token for hsm to read.
const pinVariable = "KMS11_BENCH_PIN"

// openToken makes a SoftHSM2 token in the directory that SOFTHSM2_CONF says, with one session and
// one key, through the same code that the server calls its tokens with. The process keeps it open
// until it ends.
func openToken(spec kms.KeySpec) (*hsm.Bare, error) {
	module, err := hsm.FindSoftHSM()
	if err != nil {
		return nil, err
	}
	const label = "bench"
	pin := rand.Text()
	if err := os.Setenv(pinVariable, pin); err != nil {
		return nil, err
	}
	if err := hsm.InitToken(module, label, hsm.NewPIN(pin), hsm.NewPIN(pin)); err != nil {
		return nil, err
	}
	ctx := context.Background()
	token, err := hsm.OpenToken(ctx, hsm.Config{URI: hsm.URI{Token: label, ModulePath: module, PINSource: "env:" + pinVariable}})
	if err != nil {
		return nil, err
	}
	return hsm.OpenBare(ctx, token, spec)
}
