package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/kms11/kms11/hsm"
)

// A remedy is what to do about an error of opening a token.
type remedy struct {
	fits func(hsm.URI, error) bool
	text func(hsm.URI) string
}

// remedies is the table of them; the first that fits counts.
func remedies() []remedy {
	return []remedy{
		{isPINFileMissing, func(uri hsm.URI) string {
			return "write the token's PIN into " + uri.PINFile() + ", for kms11 alone to read (umask 077)"
		}},
		{isNotInitialised, func(hsm.URI) string {
			return softHSMConf() + ": it has to name a SoftHSM2 configuration that can be read, whose directories.tokendir is there"
		}},
		{isEmptyModule, func(hsm.URI) string {
			return softHSMConf() + ": set it to the SoftHSM2 configuration with your tokens, or make a token with kms11 hsm init-token"
		}},
	}
}

// withRemedy adds what to do about an error of opening the token that a configuration names.
func withRemedy(uri hsm.URI, err error) error {
	if err == nil {
		return nil
	}
	for _, r := range remedies() {
		if r.fits(uri, err) {
			return fmt.Errorf("%w: %s", err, r.text(uri))
		}
	}
	return err
}

func isPINFileMissing(_ hsm.URI, err error) bool {
	return errors.Is(err, hsm.ErrPIN) && errors.Is(err, fs.ErrNotExist)
}

// isNotInitialised: SoftHSM2 says no more than CKR_GENERAL_ERROR of a configuration that it cannot use.
func isNotInitialised(uri hsm.URI, err error) bool {
	var failed *hsm.Error
	return isSoftHSM(uri) && errors.As(err, &failed) && failed.Function == "C_Initialize" && failed.Name() == "CKR_GENERAL_ERROR"
}

func isEmptyModule(uri hsm.URI, err error) bool {
	return isSoftHSM(uri) && errors.Is(err, hsm.ErrNoTokens)
}

func isSoftHSM(uri hsm.URI) bool {
	return strings.Contains(strings.ToLower(filepath.Base(uri.ModulePath)), "softhsm")
}

// softHSMConf says where SoftHSM2 is told its configuration.
func softHSMConf() string {
	if file := os.Getenv("SOFTHSM2_CONF"); file != "" {
		return "SOFTHSM2_CONF is " + file
	}
	return "SOFTHSM2_CONF is not set"
}
