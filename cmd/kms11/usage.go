package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// withUsageErrors gives every command what the library leaves to each: wrong flags are usage errors,
// and so are flags that are missing, which the library answers with a page of help and a plain error.
func withUsageErrors(commands []*cli.Command) []*cli.Command {
	for _, command := range commands {
		command.OnUsageError = asUsageError
		requireFlags(command)
		withUsageErrors(command.Subcommands)
	}
	return commands
}

// asUsageError is what the library makes of flags that a command does not have, or not so.
func asUsageError(c *cli.Context, err error, _ bool) error {
	return usageError{fmt.Errorf("%w: see %s --help", err, commandOf(c))}
}

// requireFlags takes the check of required flags over from the library. Required flags are strings.
func requireFlags(command *cli.Command) {
	var needed []string
	for _, flag := range command.Flags {
		if text, ok := flag.(*cli.StringFlag); ok && text.Required {
			text.Required = false
			needed = append(needed, text.Name)
		}
	}
	action := command.Action
	if len(needed) == 0 || action == nil {
		return
	}
	command.Action = func(c *cli.Context) error {
		var missing []string
		for _, name := range needed {
			if !c.IsSet(name) {
				missing = append(missing, "--"+name)
			}
		}
		if len(missing) > 0 {
			return usageError{fmt.Errorf("%s needs %s: see %s --help", command.Name, strings.Join(missing, " and "), c.Command.HelpName)}
		}
		return action(c)
	}
}

// errNoCommand says that a group of commands, or kms11 itself, has no command of a name.
func errNoCommand(c *cli.Context, name string) error {
	return usageError{fmt.Errorf("no command %q: see %s --help", name, commandOf(c))}
}

// commandOf is how a command, a group of commands or kms11 itself is called.
func commandOf(c *cli.Context) string {
	if c.Command == nil {
		return "kms11"
	}
	return cmp.Or(c.Command.HelpName, "kms11")
}
