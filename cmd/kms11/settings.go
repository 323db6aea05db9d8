package main

import (
	"os"

	"github.com/urfave/cli/v2"
)

// settingFlags are the flags of every command that reads the configuration.
func settingFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "config", Usage: "read settings from the YAML `FILE`"},
		&cli.StringFlag{Name: "data", Usage: "keep keystore, token and admin.env in `DIR` (default: kms11-data)"},
	}
}

// placeFlags are the flags of the commands that can make a keystore.
func placeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "account", Usage: "the administrator's 12-digit account `ID` (default: the keystore's; 000000000000 for a new one)"},
		&cli.StringFlag{Name: "region", Usage: "serve AWS Region `R` (default: us-east-1)"},
	}
}

// settings reads the configuration as the command line asks for it.
func settings(c *cli.Context) (Config, error) {
	if c.Args().Present() {
		return Config{}, usageError{errExtraArgument(c.Args().First())}
	}
	config, err := loadConfig(c.String("config"), os.LookupEnv)
	if err != nil {
		return config, usageError{err}
	}
	for flag, field := range map[string]*string{
		"data": &config.Data, "listen": &config.Listen, "account": &config.Account, "region": &config.Region,
	} {
		if c.IsSet(flag) {
			*field = c.String(flag)
		}
	}
	if c.IsSet("dev") {
		config.Dev = c.Bool("dev")
	}
	if err := config.check(); err != nil {
		return config, usageError{err}
	}
	return config, nil
}
