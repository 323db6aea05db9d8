package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/ops"
)

func enrollCommand() *cli.Command {
	return &cli.Command{
		Name:  "enroll",
		Usage: "prepare a token to join a domain, and print the fingerprint to confirm",
		Description: "Makes an RSA pair in the token, which never leaves it and is used once, and prints the fingerprint of its public half. " +
			"kms11 hsm rotate-domain then brings the domain's new keys into the token, if whoever runs it confirms the same fingerprint. Run it again to get another pair.",
		Flags: append(settingFlags(), &cli.StringFlag{Name: "token", Usage: "the token of this PKCS #11 `URI`", Required: true}),
		Action: func(c *cli.Context) (err error) {
			config, err := settings(c)
			if err != nil {
				return err
			}
			uri, err := hsm.ParseURI(c.String("token"))
			if err != nil {
				return usageError{err}
			}
			if len(config.Tokens) == 0 {
				// A token in the library of the data directory's own is found as the server will find it.
				if p, err := pathsOf(config.Data); err == nil && os.Getenv("SOFTHSM2_CONF") == "" {
					if ok, err := exists(p.token); err == nil && ok {
						if _, err := useLocalToken(p); err != nil {
							return err
						}
					}
				}
			}
			token, err := openToken(c.Context, config, uri, newLogger(config.Log, c.App.ErrWriter))
			if err != nil {
				return tokenError{err}
			}
			defer func() { err = errors.Join(err, token.Close()) }()
			fingerprint, err := hsm.Enroll(c.Context, token)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.App.Writer, fingerprint)
			return err
		},
	}
}

func rotateDomainCommand(asJSON cli.Flag) *cli.Command {
	return &cli.Command{
		Name:  "rotate-domain",
		Usage: "make new keys for the domain, perhaps in other tokens, and bring the keystore to them",
		Description: "The running server makes new domain, record and sealing keys, wraps every key and seals every secret anew while it goes on serving, " +
			"and a day later destroys the old ones. With --tokens the domain is then in exactly these tokens: that is how one is added (after kms11 hsm enroll) or taken out. " +
			"kms11 status says how far it is. Asks over the admin socket in the data directory, so it works for the server's own user only.",
		Flags: append(settingFlags(),
			&cli.StringSliceFlag{Name: "tokens", Usage: "PKCS #11 `URI` of a token that is to hold the domain; once for each (default: those that do)"},
			&cli.StringSliceFlag{Name: "fingerprint", Usage: "confirm the enrolment `FINGERPRINT` of a token that joins; asks otherwise"},
			&cli.StringFlag{Name: "region", Usage: "rotate the domain of this `REGION`'s own tokens"},
			&cli.BoolFlag{Name: "wait", Usage: "wait, and show progress, until the keystore needs the old keys no more"},
			&cli.BoolFlag{Name: "abandon", Usage: "end a rotation that waits for a lost token, which was taken out; the old keys stay in it"},
			asJSON,
		),
		Action: rotateDomain,
	}
}

func rotateDomain(c *cli.Context) error {
	request := ops.RotationRequest{Region: c.String("region"), Tokens: c.StringSlice("tokens"), Fingerprints: c.StringSlice("fingerprint")}
	if c.Bool("abandon") {
		return postAdmin(c, "/domain/abandon", request, &struct{}{})
	}
	var plan ops.RotationPlan
	if err := postAdmin(c, "/domain/plan", request, &plan); err != nil {
		return err
	}
	if err := confirm(c, &request, plan); err != nil {
		return err
	}
	if err := postAdmin(c, "/domain/rotate", request, &plan); err != nil {
		return err
	}
	return follow(c, plan.Domain)
}

// confirm asks for each fingerprint that no flag confirms.
func confirm(c *cli.Context, request *ops.RotationRequest, plan ops.RotationPlan) error {
	answers := bufio.NewReader(c.App.Reader)
	for _, joining := range plan.Joining {
		confirmed := false
		for _, f := range request.Fingerprints {
			confirmed = confirmed || hsm.SameFingerprint(f, joining.Fingerprint)
		}
		if confirmed {
			continue
		}
		if len(request.Fingerprints) > 0 {
			return fmt.Errorf("the enrolment fingerprint of %s is %s, which no --fingerprint names: do not go on unless kms11 hsm enroll printed it", joining.URI, joining.Fingerprint)
		}
		fmt.Fprintf(c.App.Writer, "%s\njoins the domain. The fingerprint of its enrolment is\n  %s\nIs that what kms11 hsm enroll printed? Type yes: ", joining.URI, joining.Fingerprint)
		line, err := answers.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if strings.TrimSpace(line) != "yes" {
			fmt.Fprintln(c.App.Writer)
			return errors.New("not confirmed: nothing was changed")
		}
		request.Fingerprints = append(request.Fingerprints, joining.Fingerprint)
	}
	return nil
}

// follow waits until the new keys are there, and with --wait until the store is brought to them.
func follow(c *cli.Context, domain string) error {
	shown := ""
	for {
		status, err := rotationOf(c, domain)
		if err != nil {
			return err
		}
		over := status.Phase == "" || status.Phase == kms.RotationWaiting || status.Phase == kms.RotationDestroying
		switch {
		case status.Phase == "" && status.Problem != "":
			return errors.New(status.Problem)
		case over, status.Phase == kms.RotationWrapping && !c.Bool("wait"):
			return printRotation(c, status)
		}
		text := fmt.Sprintf("%s: pass %d, %d records seen, %d changed", status.Phase, status.Pass, status.Seen, status.Changed)
		if status.Problem != "" {
			text += "; " + status.Problem
		}
		if text != shown {
			fmt.Fprintln(c.App.ErrWriter, text)
			shown = text
		}
		if err := pause(c.Context, 500*time.Millisecond); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func rotationOf(c *cli.Context, domain string) (ops.RotationStatus, error) {
	var all []ops.RotationStatus
	if err := postAdmin(c, "/domain/rotations", struct{}{}, &all); err != nil {
		return ops.RotationStatus{}, err
	}
	for _, status := range all {
		if status.Domain == domain {
			return status, nil
		}
	}
	return ops.RotationStatus{Domain: domain}, nil
}

func printRotation(c *cli.Context, status ops.RotationStatus) error {
	if c.Bool("json") {
		return printJSON(c.App.Writer, status)
	}
	text := fmt.Sprintf("domain %s has new keys; ", status.Domain)
	switch status.Phase {
	case kms.RotationWrapping:
		text += "the keystore is being brought to them: kms11 status says how far it is"
	case kms.RotationWaiting:
		text += fmt.Sprintf("the keystore needs the old ones no more, and they are destroyed after %s", status.Retire.Format(time.RFC3339))
	case kms.RotationDestroying:
		text += "the old ones are being destroyed"
	default:
		text += "the old ones are destroyed"
	}
	_, err := fmt.Fprintln(c.App.Writer, text)
	return err
}

func orphansCommand(asJSON cli.Flag) *cli.Command {
	return &cli.Command{
		Name:  "orphans",
		Usage: "list the objects in the server's tokens that belong to its domains and that nothing in the keystore names",
		Description: "An interruption between token and keystore leaves such objects: a resident key, whose LABEL is the id of the KMS key it was made for, or a version of a domain key. " +
			"A key that is being made at this moment may be listed. Nothing is removed. Asks over the admin socket in the data directory, so it works for the server's own user only.",
		Flags: append(settingFlags(), asJSON),
		Action: func(c *cli.Context) error {
			var orphans []ops.Orphan
			if err := postAdmin(c, "/domain/orphans", struct{}{}, &orphans); err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c.App.Writer, orphans)
			}
			rows := [][]string{{"TOKEN", "DOMAIN", "ROLE", "LABEL", "ID"}}
			for _, o := range orphans {
				role := o.Role
				if o.Version > 0 {
					role = fmt.Sprintf("%s %d", o.Role, o.Version)
				}
				rows = append(rows, []string{o.Token, o.Domain, role, o.Label, o.ID})
			}
			return table(c.App.Writer, rows)
		},
	}
}
