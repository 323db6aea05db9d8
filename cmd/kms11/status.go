package main

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/urfave/cli/v2"

	"github.com/kms11/kms11/api"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:        "status",
		Usage:       "ask the running server how it is",
		Description: "Prints JSON: version, health and what is wrong, domain, store, account and Region, and how each token is; fails if the server is not healthy. Asks over the admin socket in the data directory, so it works for the server's own user only.",
		Flags:       append(settingFlags(), &cli.BoolFlag{Name: "json", Usage: "print JSON, as it does without this flag too"}),
		Action: func(c *cli.Context) error {
			config, err := settings(c)
			if err != nil {
				return err
			}
			response, err := askAdmin(config.Data, "/status", nil)
			if err != nil {
				return err
			}
			defer response.Body.Close()
			if response.StatusCode != http.StatusOK {
				return fmt.Errorf("the server answered %s", response.Status)
			}
			var status api.Status
			if err := json.NewDecoder(response.Body).Decode(&status); err != nil {
				return err
			}
			if err := printJSON(c.App.Writer, status); err != nil {
				return err
			}
			if !status.Healthy {
				return fmt.Errorf("the server is not healthy: %s", status.Problem)
			}
			return nil
		},
	}
}
