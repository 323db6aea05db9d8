package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/kms11/kms11/hsm"
)

func objectsCommand(asJSON cli.Flag) *cli.Command {
	return &cli.Command{
		Name:  "objects",
		Usage: "list the persistent objects of the token, and say which are kms11's",
		Description: "OWNER is the domain of a kms11 keystore with the object's part in it: its domain, record or sealing key with the version, or a " +
			"resident key, whose label is the id of the KMS key. Nothing secret is read.",
		Flags:  append(settingFlags(), tokenFlag(), asJSON),
		Action: func(c *cli.Context) error { return withTokens(c, printObjects) },
	}
}

func printObjects(ctx context.Context, c *cli.Context, token *hsm.Token) error {
	objects, err := hsm.ListObjects(ctx, token)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		if objects == nil {
			objects = []hsm.ObjectInfo{}
		}
		return printJSON(c.App.Writer, objects)
	}
	rows := [][]string{{"CLASS", "KEY TYPE", "LABEL", "ID", "CAN LEAVE", "USES", "OWNER"}}
	for _, o := range objects {
		rows = append(rows, []string{
			strings.TrimPrefix(o.Class, "CKO_"), strings.TrimPrefix(o.KeyType, "CKK_"), o.Label, o.ID,
			yesNo(o.Extractable || !o.Sensitive), strings.Join(o.Uses, " "), owner(o),
		})
	}
	return table(c.App.Writer, rows)
}

func owner(o hsm.ObjectInfo) string {
	switch {
	case o.Domain == "":
		return ""
	case o.Version == 0:
		return o.Domain + " " + o.Role
	}
	return fmt.Sprintf("%s %s %d", o.Domain, o.Role, o.Version)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
