package main

import (
	"cmp"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/kms11/kms11/api"
	"github.com/kms11/kms11/audit"
)

func auditCommand() *cli.Command {
	return &cli.Command{
		Name:  "audit",
		Usage: "verify and read the audit trail",
		Subcommands: []*cli.Command{
			{
				Name:      "verify",
				Usage:     "check that nothing in the trail was changed, removed, reordered or inserted",
				ArgsUsage: "[DIR]",
				Description: "Works offline, without the token: the digests are verified with the public keys in DIR/keys, or with the one that --public-key names, " +
					"which is how you make sure that nobody put one there. DIR is the audit directory of the configuration unless it is given. Leaves with 5 when the trail is not whole.",
				Flags: append(settingFlags(),
					&cli.StringSliceFlag{Name: "public-key", Usage: "trust the key in the PEM `FILE` only"},
					&cli.BoolFlag{Name: "partial", Usage: "accept that the oldest files and digests were taken away"},
					&cli.Uint64Flag{Name: "at-least", Usage: "the trail has to reach record `N`"},
					&cli.BoolFlag{Name: "json", Usage: "print JSON"},
				),
				Action: verifyTrail,
			},
			{
				Name:      "tail",
				Usage:     "print the last records",
				ArgsUsage: "[DIR]",
				Flags: append(settingFlags(),
					&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on with what is written, until interrupted"},
					&cli.IntFlag{Name: "lines", Aliases: []string{"n"}, Value: 10, Usage: "print `N` records"},
				),
				Action: tailTrail,
			},
			{
				Name:      "query",
				Usage:     "print the records that match",
				ArgsUsage: "[DIR]",
				Flags: append(settingFlags(),
					&cli.StringFlag{Name: "key", Usage: "of a key, by its `ID` or ARN: all its records; by an alias or its ARN: those of requests that named the alias"},
					&cli.StringFlag{Name: "operation", Usage: "of an operation, such as `Decrypt`"},
					&cli.StringFlag{Name: "principal", Usage: "of a principal, by `ARN` or name"},
					&cli.StringFlag{Name: "since", Usage: "not before `TIME`: RFC 3339, or how long ago, such as 24h"},
					&cli.StringFlag{Name: "until", Usage: "not after `TIME`"},
					&cli.StringFlag{Name: "error", Usage: "that failed with `CODE`; any: that failed; none: that succeeded"},
				),
				Action: queryTrail,
			},
		},
	}
}

// trailSettings gives the audit directory that the command line names, and the settings.
func trailSettings(c *cli.Context) (dir string, config Config, err error) {
	if c.NArg() > 1 {
		return "", config, usageError{errExtraArgument(c.Args().Get(1))}
	}
	if config, err = loadConfig(c.String("config"), os.LookupEnv); err != nil {
		return "", config, usageError{err}
	}
	if c.IsSet("data") {
		config.Data = c.String("data")
	}
	p, err := pathsOf(config.Data)
	if err != nil {
		return "", config, err
	}
	dir = cmp.Or(c.Args().First(), config.Audit.Directory, p.audit)
	if there, err := exists(dir); err != nil || !there {
		return "", config, errors.Join(err, fmt.Errorf("there is no audit trail in %s: name its directory", dir))
	}
	return dir, config, nil
}

// auditError says that a trail is not whole.
type auditError struct{ error }

func verifyTrail(c *cli.Context) error {
	dir, config, err := trailSettings(c)
	if err != nil {
		return err
	}
	o := audit.VerifyOptions{Partial: c.Bool("partial"), AtLeast: c.Uint64("at-least")}
	for _, file := range c.StringSlice("public-key") {
		key, err := readPublicKey(file)
		if err != nil {
			return usageError{err}
		}
		o.Keys = append(o.Keys, key)
	}
	if !c.Args().Present() {
		o.AtLeast = max(o.AtLeast, servedSequence(config, dir))
	}
	report, err := audit.Verify(dir, o)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		err = printJSON(c.App.Writer, report)
	} else {
		err = printReport(c.App.Writer, report, len(o.Keys) > 0)
	}
	if err != nil {
		return err
	}
	if n := len(report.Findings); n > 0 {
		return auditError{fmt.Errorf("the audit trail in %s is not whole; findings: %d, the first: %s", dir, n, report.Findings[0])}
	}
	return nil
}

func readPublicKey(file string) (*ecdsa.PublicKey, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	key, err := audit.ParsePublicKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return key, nil
}

// servedSequence asks the server that keeps the trail, if it runs, how far it has come; 0: nobody
// says.
func servedSequence(config Config, dir string) uint64 {
	response, err := askAdmin(config.Data, "/status", nil)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	var status api.Status
	if response.StatusCode != http.StatusOK || json.NewDecoder(response.Body).Decode(&status) != nil || status.Audit == nil {
		return 0
	}
	here, err := filepath.Abs(dir)
	if err != nil || status.Audit.Directory != here {
		return 0
	}
	return status.Audit.Sequence
}

func printReport(w io.Writer, r *audit.Report, pinned bool) error {
	for _, f := range r.Findings {
		if _, err := fmt.Fprintln(w, "wrong:", f); err != nil {
			return err
		}
	}
	if r.Cut {
		fmt.Fprintln(w, "wrong: … and more")
	}
	for _, n := range r.Notes {
		fmt.Fprintln(w, "note:", n)
	}
	fmt.Fprintf(w, "records %d to %d, %d of them here; %d digests\n", r.First, r.Last, r.Records, r.Digests)
	if r.Last > r.Covered {
		fmt.Fprintf(w, "no digest vouches for the records after %d yet: they are chained, not signed\n", r.Covered)
	}
	if !pinned {
		fmt.Fprintln(w, "the public key was taken from the trail's own directory: pin it with --public-key")
	}
	var err error
	if len(r.Findings) == 0 {
		_, err = fmt.Fprintln(w, "whole")
	}
	return err
}

func tailTrail(c *cli.Context) error {
	dir, _, err := trailSettings(c)
	if err != nil {
		return err
	}
	if c.Int("lines") < 0 {
		return usageError{errors.New("--lines is not negative")}
	}
	last, err := audit.LastSequence(dir)
	if err != nil {
		return err
	}
	from := uint64(1)
	if n := uint64(c.Int("lines")); n < last {
		from = last - n + 1
	}
	show := func(line []byte) error { return printLine(c.App.Writer, line) }
	if c.Bool("follow") {
		ctx, stop := signal.NotifyContext(c.Context, syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		return audit.Follow(ctx, dir, from, show)
	}
	return eachLine(dir, from, show)
}

func queryTrail(c *cli.Context) error {
	dir, _, err := trailSettings(c)
	if err != nil {
		return err
	}
	filter := audit.Filter{Key: c.String("key"), Operation: c.String("operation"), Principal: c.String("principal"), Error: c.String("error")}
	for flag, at := range map[string]*time.Time{"since": &filter.Since, "until": &filter.Until} {
		if *at, err = parseMoment(c.String(flag), time.Now()); err != nil {
			return usageError{fmt.Errorf("--%s: %w", flag, err)}
		}
	}
	return eachLine(dir, 1, func(line []byte) error {
		if !filter.Match(line) {
			return nil
		}
		return printLine(c.App.Writer, line)
	})
}

// parseMoment reads a time, or how long before now it was; the zero time if there is none.
func parseMoment(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil {
		return now.Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is neither a time such as 2026-11-25T12:00:00Z nor a duration such as 24h", text)
	}
	return at, nil
}

func eachLine(dir string, from uint64, show func([]byte) error) error {
	for line, err := range audit.Lines(dir, from) {
		if err == nil {
			err = show(line)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func printLine(w io.Writer, line []byte) error {
	_, err := w.Write(append(line[:len(line):len(line)], '\n'))
	return err
}
