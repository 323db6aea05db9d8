package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/kms11/kms11/xks"
)

func xksCommand() *cli.Command {
	return &cli.Command{
		Name:  "xks",
		Usage: "administer the external key store proxy of the running server, or check any proxy",
		Description: "All but doctor ask the running server over the admin socket in its data directory, so they work for the server's own user only. " +
			"What they change counts from the next request on.",
		Subcommands: []*cli.Command{xksTenantCommand(), xksKeyCommand(), xksCredentialCommand(), xksDoctorCommand()},
	}
}

// The flags that name things. prefix is required where a command makes or changes something.
func prefixFlag(required bool) cli.Flag {
	return &cli.StringFlag{Name: "prefix", Required: required, Usage: "the tenant's URI `PREFIX`, such as /example; / for the path without one"}
}

func idFlag(usage string) cli.Flag { return &cli.StringFlag{Name: "id", Required: true, Usage: usage} }

// xksAction makes a subcommand that sends one command to the server and prints its answer.
func xksAction(path, usage string, flags []cli.Flag, read func(*cli.Context, *xks.AdminRequest) error) *cli.Command {
	return &cli.Command{
		Name:  path[bytes.LastIndexByte([]byte(path), '/')+1:],
		Usage: usage,
		Flags: append(settingFlags(), flags...),
		Action: func(c *cli.Context) error {
			in := xks.AdminRequest{Prefix: c.String("prefix"), ID: c.String("id")}
			if read != nil {
				if err := read(c, &in); err != nil {
					return usageError{err}
				}
			}
			return printAdmin(c, "/xks/"+path, in)
		},
	}
}

func xksTenantCommand() *cli.Command {
	settings := []cli.Flag{
		prefixFlag(true),
		&cli.IntFlag{Name: "rate", Usage: "allow `N` requests a second, counted on each node; 0: no limit"},
		&cli.StringFlag{Name: "rules", Usage: "read the rules on who may do what from the JSON `FILE`: a list; [] allows all"},
	}
	return &cli.Command{
		Name:  "tenant",
		Usage: "the URI prefixes of the proxy",
		Subcommands: []*cli.Command{
			xksAction("tenant/create", "serve a URI prefix", settings, readTenant),
			xksAction("tenant/update", "change rate or rules", settings, readTenant),
			xksAction("tenant/list", "list the prefixes with their rates and rules", nil, nil),
			xksAction("tenant/delete", "serve a URI prefix no more; it may have no keys and no credentials", []cli.Flag{prefixFlag(true)}, nil),
		},
	}
}

func readTenant(c *cli.Context, in *xks.AdminRequest) error {
	if c.IsSet("rate") {
		rate := c.Int("rate")
		in.RequestsPerSecond = &rate
	}
	if !c.IsSet("rules") {
		return nil
	}
	text, err := os.ReadFile(c.String("rules"))
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	var rules []xks.Rule
	if err := decoder.Decode(&rules); err != nil {
		return fmt.Errorf("rules: %s: %s", c.String("rules"), oneLine(err))
	}
	in.Rules = &rules
	return nil
}

func xksKeyCommand() *cli.Command {
	id := idFlag("the external key's `ID`: XksKeyId in CreateKey")
	return &cli.Command{
		Name:  "key",
		Usage: "the external keys of the proxy",
		Subcommands: []*cli.Command{
			xksAction("key/create", "give a tenant a key: a KMS key of this server, or a key object in a token", []cli.Flag{
				prefixFlag(true), id,
				&cli.StringFlag{Name: "key", Usage: "stand for the KMS key of this `ID` or ARN: SYMMETRIC_DEFAULT, of this server's own"},
				&cli.StringFlag{Name: "object", Usage: "stand for the AES-256 key object of this PKCS #11 `URI`: token and object or id, such as 'pkcs11:token=hsm;object=my-key'"},
				&cli.BoolFlag{Name: "generate", Usage: "make the key object first, so that it never leaves the token"},
			}, func(c *cli.Context, in *xks.AdminRequest) error {
				in.KeyID, in.Object, in.Generate = c.String("key"), c.String("object"), c.Bool("generate")
				return nil
			}),
			xksAction("key/list", "list the external keys and how each is now", []cli.Flag{prefixFlag(false)}, nil),
			xksAction("key/enable", "let an external key be used again", []cli.Flag{id}, nil),
			xksAction("key/disable", "refuse every use of an external key", []cli.Flag{id}, nil),
			xksAction("key/delete", "take an external key away; what it stands for stays", []cli.Flag{id}, nil),
		},
	}
}

func xksCredentialCommand() *cli.Command {
	id := idFlag("the credential's access key `ID`")
	return &cli.Command{
		Name:  "credential",
		Usage: "the access keys of the proxy's clients",
		Subcommands: []*cli.Command{
			xksAction("credential/create", "make a credential and print the JSON file that the AWS KMS console reads: its secret is shown this once", []cli.Flag{prefixFlag(true)}, nil),
			xksAction("credential/list", "list the credentials, without their secrets", []cli.Flag{prefixFlag(false)}, nil),
			xksAction("credential/enable", "take a credential again", []cli.Flag{id}, nil),
			xksAction("credential/disable", "refuse a credential", []cli.Flag{id}, nil),
			xksAction("credential/delete", "delete a credential", []cli.Flag{id}, nil),
		},
	}
}
