package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/kms11/kms11/hsm"
)

func hsmCommand() *cli.Command {
	asJSON := &cli.BoolFlag{Name: "json", Usage: "print JSON"}
	return &cli.Command{
		Name:  "hsm",
		Usage: "look at tokens, try them, make one, rotate a domain's keys",
		Subcommands: []*cli.Command{
			{
				Name:   "info",
				Usage:  "print module, token, firmware, sessions and free memory",
				Flags:  append(settingFlags(), tokenFlag(), asJSON),
				Action: func(c *cli.Context) error { return withTokens(c, printInfo) },
			},
			{
				Name:  "probe",
				Usage: "print what the token can do, found by doing it with session objects",
				Description: "Runs every mechanism kms11 can use once, on short-lived session objects; nothing is left on the token. " +
					"The result says what KeySpecs and operations the token can carry.",
				Flags:  append(settingFlags(), tokenFlag(), asJSON),
				Action: func(c *cli.Context) error { return withTokens(c, printProbe) },
			},
			objectsCommand(asJSON),
			selfTestCommand(asJSON),
			benchCommand(asJSON),
			initTokenCommand(),
			enrollCommand(),
			rotateDomainCommand(asJSON),
			orphansCommand(asJSON),
		},
	}
}

func tokenFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "token", Usage: "look at the token of this PKCS #11 `URI` instead of the configured one"}
}

// withTokens opens each token that the command line or the configuration names and shows it.
func withTokens(c *cli.Context, show func(context.Context, *cli.Context, *hsm.Token) error) (err error) {
	config, err := settings(c)
	if err != nil {
		return err
	}
	if uris := c.StringSlice("token"); len(uris) > 0 {
		for _, uri := range uris {
			if err := checkTokenURI(uri); err != nil {
				return usageError{fmt.Errorf("--token: %w", err)}
			}
		}
		config.Tokens, config.RegionTokens = uris, nil
	}
	p, err := pathsOf(config.Data)
	if err != nil {
		return err
	}
	if len(config.Tokens) == 0 {
		if ok, err := exists(p.token); err != nil || !ok {
			return errors.Join(err, fmt.Errorf("%w: no token is configured and %s has none of its own: name one with --token, or start kms11 serve once", hsm.ErrNotFound, config.Data))
		}
	}
	b := &backend{}
	defer func() { err = errors.Join(err, b.close()) }()
	log := newLogger(config.Log, c.App.ErrWriter)
	if err := b.openTokens(c.Context, config, p, log); err != nil {
		return err
	}
	for _, token := range b.tokens {
		if err := show(c.Context, c, token); err != nil {
			return err
		}
	}
	return b.withRegionTokens(c.Context, config, log, func(token *hsm.Token) error { return show(c.Context, c, token) })
}

func printJSON(to io.Writer, value any) error {
	encoder := json.NewEncoder(to)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

func table(to io.Writer, rows [][]string) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, cell)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

func printInfo(ctx context.Context, c *cli.Context, token *hsm.Token) error {
	info, err := token.Info(ctx)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, info)
	}
	memory := func(bytes *uint) string {
		if bytes == nil {
			return "not told"
		}
		return fmt.Sprintf("%d bytes", *bytes)
	}
	most := "no limit told"
	if info.MaxSessions > 0 {
		most = fmt.Sprintf("at most %d", info.MaxSessions)
	}
	return table(c.App.Writer, [][]string{
		{"module", info.Module},
		{"library", info.Library + " " + info.LibraryVersion + ", PKCS #11 " + info.CryptokiVersion},
		{"token", info.Token},
		{"serial", info.Serial},
		{"slot", fmt.Sprint(info.SlotID)},
		{"model", info.Manufacturer + " " + info.Model},
		{"firmware", info.Firmware + ", hardware " + info.Hardware},
		{"sessions", fmt.Sprintf("%d open by this command, %s", info.Sessions, most)},
		{"free public memory", memory(info.FreePublicMemory)},
		{"free private memory", memory(info.FreePrivateMemory)},
		{"flags", strings.Join(info.Flags, " ")},
	})
}

func printProbe(ctx context.Context, c *cli.Context, token *hsm.Token) error {
	features, err := hsm.Probe(ctx, token)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, features)
	}
	rows := [][]string{{"AREA", "FEATURE", "WORKS", "DETAIL"}}
	for _, feature := range features {
		works := "no"
		if feature.OK {
			works = "yes"
		}
		rows = append(rows, []string{feature.Area, feature.Name, works, feature.Detail})
	}
	return table(c.App.Writer, rows)
}
