package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/kms11/kms11/durable"
	"github.com/kms11/kms11/hsm"
)

const localTokenLabel = "kms11"

// useLocalToken points SoftHSM2 at the data directory's own token and gives the token's URI. It
// has to come before the module is loaded: SoftHSM2 reads its configuration then. The
// configuration holds an absolute path, so it is written anew where the directory has moved.
func useLocalToken(p paths) (hsm.URI, error) {
	module, err := hsm.FindSoftHSM()
	if err != nil {
		return hsm.URI{}, fmt.Errorf("%w: run make deps (or apt-get install softhsm2), set SOFTHSM2_MODULE to its path, or name another token in the configuration", err)
	}
	if strings.ContainsAny(p.tokenDir, "#=\r\n") {
		return hsm.URI{}, usageError{fmt.Errorf("config: the path %q has a character that SoftHSM2's configuration file cannot hold (#, = or a line break): choose another data directory, or name a token in the configuration", p.tokenDir)}
	}
	conf := []byte("# SoftHSM2 token of kms11, written by kms11.\ndirectories.tokendir = " + p.tokenDir +
		"\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n")
	if old, err := os.ReadFile(p.tokenConf); err != nil || !bytes.Equal(old, conf) {
		if err := durable.WriteFile(p.tokenConf, conf); err != nil {
			return hsm.URI{}, err
		}
	}
	if err := os.Setenv("SOFTHSM2_CONF", p.tokenConf); err != nil {
		return hsm.URI{}, err
	}
	return hsm.URI{Token: localTokenLabel, ModulePath: module, PINSource: "file:" + p.userPIN}, nil
}

// createLocalToken makes the SoftHSM2 token of a data directory, with random PINs in files of
// mode 0600.
func createLocalToken(p paths) error {
	if err := os.MkdirAll(p.tokenDir, 0o700); err != nil {
		return err
	}
	var pins [2]hsm.PIN
	for i, path := range []string{p.soPIN, p.userPIN} {
		var random [16]byte
		if _, err := rand.Read(random[:]); err != nil {
			return err
		}
		pin := hex.EncodeToString(random[:])
		if err := durable.WriteFile(path, []byte(pin+"\n")); err != nil {
			return err
		}
		pins[i] = hsm.NewPIN(pin)
	}
	uri, err := useLocalToken(p)
	if err != nil {
		return err
	}
	return hsm.InitToken(uri.ModulePath, localTokenLabel, pins[0], pins[1])
}

// localState says what of its own token and its keystore a data directory holds.
type localState struct{ token, keystore bool }

// inspect looks at a data directory and moves away what an interrupted first start left: until
// the mark of an unfinished start is gone, nothing that it made has been used.
func inspect(p paths) (localState, error) {
	unfinished, err := exists(p.unfinished)
	if err != nil {
		return localState{}, err
	}
	if unfinished {
		if err := setAside(p); err != nil {
			return localState{}, err
		}
	}
	var state localState
	var errs [2]error
	state.token, errs[0] = exists(p.token)
	state.keystore, errs[1] = exists(p.keystore)
	return state, errors.Join(errs[:]...)
}

// setAside moves what an unfinished start made into a directory of its own. It deletes nothing: by
// now somebody may have restored a keystore or a token there, and either may be the only one.
func setAside(p paths) error {
	mark, err := os.ReadFile(p.unfinished)
	if err != nil {
		return err
	}
	dir := filepath.Dir(p.unfinished)
	aside, err := os.MkdirTemp(dir, "unfinished-")
	if err != nil {
		return err
	}
	moved := false
	for _, path := range []string{p.token, p.keystore, p.adminEnv} {
		name := filepath.Base(path)
		if !bytes.Contains(mark, []byte("\n"+name+"\n")) {
			continue
		}
		if err := os.Rename(path, filepath.Join(aside, name)); err == nil {
			moved = true
		} else if !os.IsNotExist(err) {
			return err
		}
	}
	if !moved {
		if err := os.Remove(aside); err != nil {
			return err
		}
	}
	return finish(p)
}

// begin marks the start of a data directory's making, finish its end. The mark names what is made:
// with a configured token, a token of the data directory's own is none of it. What is there already
// is never among it.
func begin(p paths, local bool) error {
	made := []string{p.keystore}
	if local {
		made = append(made, p.token)
	}
	if known, err := exists(p.adminEnv); err != nil {
		return err
	} else if known {
		return mismatchError{fmt.Errorf("%s is there, but no keystore: restore %s, or move both the token and %s away to begin anew", p.adminEnv, p.keystore, p.adminEnv)}
	}
	text := "Token and keystore are being made here. If this file stays, the start was interrupted, and the next one moves these away and begins anew:\n"
	for _, path := range append(made, p.adminEnv) {
		text += filepath.Base(path) + "\n"
	}
	return durable.WriteFile(p.unfinished, []byte(text))
}

func finish(p paths) error {
	if err := os.Remove(p.unfinished); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(p.unfinished))
}
