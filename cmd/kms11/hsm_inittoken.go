package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/kms11/kms11/hsm"
)

func initTokenCommand() *cli.Command {
	return &cli.Command{
		Name:  "init-token",
		Usage: "make a token on a free slot of a software module such as SoftHSM2",
		Description: "Calls C_InitToken and C_InitPIN on a slot that was never initialised and refuses a label that is taken. PINs come from files, of " +
			"which the first line counts, so that they show in no list of processes. Hardware tokens are made with their vendor's tools.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "module", Usage: "the PKCS #11 library `PATH` (default: SoftHSM2's)"},
			&cli.StringFlag{Name: "label", Usage: "the token's `LABEL`, up to 32 bytes", Required: true},
			&cli.StringFlag{Name: "pin-file", Usage: "read the user PIN from `FILE`", Required: true},
			&cli.StringFlag{Name: "so-pin-file", Usage: "read the security officer's PIN from `FILE`", Required: true},
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usageError{errExtraArgument(c.Args().First())}
			}
			module := c.String("module")
			if module == "" {
				var err error
				if module, err = hsm.FindSoftHSM(); err != nil {
					return fmt.Errorf("%w: name it with --module", err)
				}
			}
			user, err := readPIN(c.String("pin-file"))
			if err != nil {
				return err
			}
			officer, err := readPIN(c.String("so-pin-file"))
			if err != nil {
				return err
			}
			if err := hsm.InitToken(module, c.String("label"), officer, user); err != nil {
				return withRemedy(hsm.URI{ModulePath: module}, err)
			}
			// Whole, so that it can go into a configuration file and be used from anywhere.
			pinFile, err := filepath.Abs(c.String("pin-file"))
			if err != nil {
				return err
			}
			uri := hsm.URI{Token: c.String("label"), ModulePath: module, PINSource: "file:" + pinFile}
			_, err = fmt.Fprintln(c.App.Writer, uri)
			return err
		},
	}
}

func readPIN(file string) (hsm.PIN, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return hsm.PIN{}, usageError{fmt.Errorf("PIN: %w: make one with (umask 077; openssl rand -hex 8 > %s)", err, file)}
	}
	if err != nil {
		return hsm.PIN{}, usageError{fmt.Errorf("PIN: %w", err)}
	}
	defer clear(text)
	line, _, _ := strings.Cut(string(text), "\n")
	return hsm.NewPIN(strings.TrimSuffix(line, "\r")), nil
}
