package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/urfave/cli/v2"
)

func initCommand() *cli.Command {
	return &cli.Command{
		Name:  "init",
		Usage: "make the domain's keys in the configured tokens, the keystore and an administrator",
		Description: "Makes what serve needs, once: the domain's three keys in every configured token, the keystore and the user admin, " +
			"whose access key is written to admin.env in the data directory. Without configured tokens it makes a SoftHSM2 token in the data directory.",
		Flags: append(settingFlags(), placeFlags()...),
		Action: func(c *cli.Context) error {
			config, err := settings(c)
			if err != nil {
				return err
			}
			p, err := pathsOf(config.Data)
			if err != nil {
				return err
			}
			b := &backend{}
			if err := b.initialise(c.Context, &config, p, newLogger(config.Log, c.App.ErrWriter)); err != nil {
				_ = b.close()
				return err
			}
			_, err = fmt.Fprintf(c.App.Writer, "domain %s made; administrator's access key in %s\n%s", b.domain.Describe().ID, p.adminEnv, shownOnce(c.App.Writer, b.made))
			if closeErr := b.close(); err == nil {
				err = closeErr
			}
			return err
		},
	}
}

// initialise makes token (if it is to be the data directory's own), domain, keystore and
// administrator where there is nothing yet. What an interruption leaves in the data directory,
// the next start moves aside; domain objects left in a configured token harm nothing.
func (b *backend) initialise(ctx context.Context, c *Config, p paths, log *slog.Logger) error {
	if b.lock == nil {
		if err := b.lockData(c.Data); err != nil {
			return err
		}
	}
	state, err := inspect(p)
	if err != nil {
		return err
	}
	if state.keystore {
		return mismatchError{fmt.Errorf("there is a keystore already, %s: kms11 serve uses it", p.keystore)}
	}
	local := len(c.Tokens) == 0
	if local && state.token {
		return mismatchError{fmt.Errorf("there is a token already but no keystore: restore %s, or move %s away to begin anew", p.keystore, p.token)}
	}
	if c.Account == "" {
		c.Account = defaultAccount
	}
	if err := begin(p, local); err != nil {
		return err
	}
	if local {
		if err := createLocalToken(p); err != nil {
			return err
		}
	}
	if err := b.openTokens(ctx, *c, p, log); err != nil {
		return err
	}
	if b.made, err = b.create(ctx, *c, p, log); err != nil {
		return err
	}
	if err := writeAdminEnv(p.adminEnv, adminEnv{accessKey: b.made, region: c.Region, endpoint: endpoint(*c, c.Listen)}); err != nil {
		return err
	}
	return finish(p)
}
