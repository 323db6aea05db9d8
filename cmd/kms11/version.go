package main

import (
	"fmt"
	"runtime"

	"github.com/urfave/cli/v2"
)

// version is stamped by the Makefile with -ldflags "-X main.version=…".
var version = "devel"

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the version",
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usageError{errExtraArgument(c.Args().First())}
			}
			_, err := fmt.Fprintf(c.App.Writer, "kms11 %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
