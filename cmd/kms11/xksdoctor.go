package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/kms11/kms11/xks"
)

func xksDoctorCommand() *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "check an external key store proxy, this server's or any other, against the specification",
		Description: "Sends requests as AWS KMS does, right ones and wrong ones, and says of each finding what AWS KMS would answer its caller. " +
			"It encrypts and decrypts texts of its own with the key that is named. It fails if a check does.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "url", Required: true, Usage: "the proxy's endpoint: https:// and a host, without a path (`URL`)"},
			&cli.StringFlag{Name: "credential", Required: true, Usage: "the JSON `FILE` of the AWS KMS console, as kms11 xks credential create prints it"},
			&cli.StringFlag{Name: "prefix", Usage: "use this `PREFIX` instead of the path in the credential file; / for none"},
			&cli.StringFlag{Name: "key", Usage: "the `ID` of an external key; without one only what needs none is checked"},
			&cli.StringFlag{Name: "region", Value: "us-east-1", Usage: "sign as the KMS of AWS Region `R` does"},
			&cli.StringFlag{Name: "ca", Usage: "verify the proxy's certificate with the roots in the PEM `FILE`, not with the system's"},
			&cli.StringFlag{Name: "client-cert", Usage: "show the proxy the certificate in the PEM `FILE`"},
			&cli.StringFlag{Name: "client-key", Usage: "the client certificate's key, a PEM `FILE`"},
			&cli.BoolFlag{Name: "json", Usage: "print the findings as JSON, one in a line"},
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usageError{errExtraArgument(c.Args().First())}
			}
			config, err := doctorConfig(c)
			if err != nil {
				return usageError{err}
			}
			graded := map[xks.Grade]int{}
			report := func(f xks.Finding) {
				graded[f.Grade]++
				printFinding(c.App.Writer, f)
			}
			if c.Bool("json") {
				encoder := json.NewEncoder(c.App.Writer)
				report = func(f xks.Finding) { _ = encoder.Encode(f) } // the exit code tells too
			}
			doctor := &xks.Doctor{Config: config, KeyID: c.String("key"), Report: report}
			failed, err := doctor.Examine(c.Context)
			if err != nil {
				return usageError{err}
			}
			if !c.Bool("json") {
				printGrades(c.App.Writer, graded)
			}
			if failed > 0 {
				return fmt.Errorf("checks failed: %d", failed)
			}
			return nil
		},
	}
}

func printFinding(to io.Writer, f xks.Finding) {
	fmt.Fprintf(to, "%-4s  %s\n", f.Grade, f.Check)
	if f.Detail != "" {
		fmt.Fprintf(to, "      %s\n", f.Detail)
	}
	if f.AWS != "" {
		fmt.Fprintf(to, "      AWS KMS answers: %s\n", f.AWS)
	}
}

// printGrades sums the findings up.
func printGrades(to io.Writer, graded map[xks.Grade]int) {
	passed, warned, failed, skipped := graded[xks.Passed], graded[xks.Warned], graded[xks.Failed], graded[xks.Skipped]
	fmt.Fprintf(to, "%d checks: %d passed, %d warnings, %d failed, %d skipped\n", passed+warned+failed+skipped, passed, warned, failed, skipped)
}

// doctorConfig reads what the flags name.
func doctorConfig(c *cli.Context) (xks.ClientConfig, error) {
	file, err := xks.ReadCredentialFile(c.String("credential"))
	if err != nil {
		return xks.ClientConfig{}, fmt.Errorf("credential: %w", err)
	}
	if id := c.String("key"); id != "" && !xks.ValidKeyID(id) {
		return xks.ClientConfig{}, errors.New(`key: the id of an external key is 1 to 128 letters, digits, "-", "." and "_"`)
	}
	config := xks.ClientConfig{
		Endpoint:    strings.TrimSuffix(c.String("url"), "/"),
		URIPath:     file.URIPath,
		AccessKeyID: file.Credential.AccessKeyID,
		Secret:      file.Credential.Secret,
		Region:      c.String("region"),
	}
	if c.IsSet("prefix") {
		config.URIPath = xks.URIPathOf(c.String("prefix"))
	}
	if ca := c.String("ca"); ca != "" {
		if config.RootCAs, err = readRoots(ca); err != nil {
			return config, fmt.Errorf("ca: %w", err)
		}
	}
	if (c.String("client-cert") == "") != (c.String("client-key") == "") {
		return config, errors.New("client-cert and client-key go together")
	}
	if cert := c.String("client-cert"); cert != "" {
		certificate, err := tls.LoadX509KeyPair(cert, c.String("client-key"))
		if err != nil {
			return config, fmt.Errorf("client-cert: %w", err)
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return config, nil
}
