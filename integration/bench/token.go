package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/kms"
)

// A tokenKind is a sort of token that can be measured. The server and the bare paths of one run are on
// the same kind, each on a token of its own.
type tokenKind struct {
	name string
	// make makes an empty token below dir with the PIN that the file holds, for this process and those
	// that it starts with its environment, and gives its URI.
	make func(dir, pinFile string) (hsm.URI, error)
	// configured says that the server has to be told of its token. Otherwise it makes one of this kind
	// by itself on an empty data directory, and is measured so.
	configured bool
}

// tokenKinds are all there are, the usual one first.
func tokenKinds() []tokenKind {
	return []tokenKind{
		{name: "softhsm", make: makeSoftHSM},
		{name: "nss", make: makeNSS, configured: true},
	}
}

func tokenKindOf(name string) (tokenKind, error) {
	var names []string
	for _, kind := range tokenKinds() {
		if kind.name == name {
			return kind, nil
		}
		names = append(names, kind.name)
	}
	return tokenKind{}, fmt.Errorf("%q is none of %s", name, strings.Join(names, ", "))
}

// create makes an empty token below dir, which it makes too, with a PIN at random.
func (kind tokenKind) create(dir string) (hsm.URI, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return hsm.URI{}, err
	}
	pinFile := filepath.Join(dir, "pin")
	if err := os.WriteFile(pinFile, []byte(rand.Text()+"\n"), 0o600); err != nil {
		return hsm.URI{}, err
	}
	uri, err := kind.make(dir, pinFile)
	if err != nil {
		return hsm.URI{}, fmt.Errorf("make a token of %s: %w", kind.name, err)
	}
	uri.PINSource = "file:" + pinFile
	return uri, nil
}

// open makes a token below dir with one session and one key, through the same code that the server
// calls its tokens with. The process keeps it open until it ends.
func (kind tokenKind) open(dir string, spec kms.KeySpec) (*hsm.Bare, error) {
	uri, err := kind.create(dir)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	token, err := hsm.OpenToken(ctx, hsm.Config{URI: uri})
	if err != nil {
		return nil, err
	}
	return hsm.OpenBare(ctx, token, spec)
}

// makeSoftHSM makes a SoftHSM2 token. It points this process at it by SOFTHSM2_CONF, so before the
// library is loaded.
func makeSoftHSM(dir, pinFile string) (hsm.URI, error) {
	module, err := hsm.FindSoftHSM()
	if err != nil {
		return hsm.URI{}, fmt.Errorf("%w (`make deps` installs it)", err)
	}
	tokens, file := filepath.Join(dir, "tokens"), filepath.Join(dir, "softhsm2.conf")
	text := "directories.tokendir = " + tokens + "\nobjectstore.backend = file\nlog.level = ERROR\n"
	if err := errors.Join(os.MkdirAll(tokens, 0o700), os.WriteFile(file, []byte(text), 0o600), os.Setenv("SOFTHSM2_CONF", file)); err != nil {
		return hsm.URI{}, err
	}
	pin, err := hsm.URI{PINSource: pinFile}.PIN()
	if err != nil {
		return hsm.URI{}, err
	}
	const label = "bench"
	return hsm.URI{Token: label, ModulePath: module}, hsm.InitToken(module, label, pin, pin)
}
