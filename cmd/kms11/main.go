// Command kms11 is a key management service with the semantics of AWS KMS whose keys live in a
// PKCS #11 token.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/urfave/cli/v2"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/keystore/boltengine"
)

// Exit codes.
const (
	exitFailure  = 1 // anything not named below
	exitUsage    = 2 // wrong arguments or settings
	exitToken    = 3 // the token cannot be reached, refuses the PIN or lacks what is needed
	exitMismatch = 4 // token and keystore are incomplete or do not belong together
	exitAudit    = 5 // the audit trail is not whole
)

func main() {
	// The live heap is a few megabytes, so by default the collector would run dozens of times a
	// second under load. GOGC overrides this.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	os.Exit(run(os.Args, os.Stdout, os.Stderr))
}

// gcPercent lets the heap grow to five times what is live.
const gcPercent = 400

// run executes one command and gives its exit code. An error is one line on standard error.
func run(args []string, stdout, stderr io.Writer) int {
	var unknown error // a command that does not exist, which the library reports and takes for success
	app := &cli.App{
		Name:           "kms11",
		Usage:          "a key management service with AWS KMS's API, its keys in a PKCS #11 token",
		Version:        version,
		HideVersion:    true,
		Writer:         stdout,
		ErrWriter:      stderr,
		ExitErrHandler: func(*cli.Context, error) {},
		// A value of a flag that may be repeated can have commas.
		DisableSliceFlagSeparator: true,
		OnUsageError:              asUsageError,
		CommandNotFound: func(c *cli.Context, name string) {
			unknown = errNoCommand(c, name)
		},
		Description: "Exit codes: 0 success, 1 failure, 2 wrong arguments or settings, 3 token not usable, 4 token and keystore do not fit together, 5 the audit trail is not whole.",
		Commands:    withUsageErrors([]*cli.Command{serveCommand(), initCommand(), statusCommand(), iamGroup(), auditCommand(), hsmCommand(), policyCommand(), xksCommand(), versionCommand()}),
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return errNoCommand(c, c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
	}
	err := cmp.Or(app.Run(args), unknown)
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "kms11: %s\n", oneLine(err))
	return exitCode(err)
}

// usageError is a mistake in arguments or settings.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// mismatchError says that token and keystore are not a pair.
type mismatchError struct{ error }

func (e mismatchError) Unwrap() error { return e.error }

// tokenError says that a token could not be opened.
type tokenError struct{ error }

func (e tokenError) Unwrap() error { return e.error }

func exitCode(err error) int {
	var usage usageError
	var mismatch mismatchError
	var unopened tokenError
	var altered auditError
	switch {
	case errors.As(err, &altered):
		return exitAudit
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &mismatch), errors.Is(err, hsm.ErrWrongToken), errors.Is(err, keystore.ErrTampered), errors.Is(err, boltengine.ErrDamaged):
		return exitMismatch
	case errors.As(err, &unopened), errors.Is(err, hsm.ErrPIN), errors.Is(err, hsm.ErrTokenDown), errors.Is(err, hsm.ErrUnsupported), errors.Is(err, hsm.ErrNotFound):
		return exitToken
	}
	var token *hsm.Error
	if errors.As(err, &token) {
		return exitToken
	}
	return exitFailure
}
