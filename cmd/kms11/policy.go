package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/kms11/kms11/ops"
)

func policyCommand() *cli.Command {
	return &cli.Command{
		Name:        "policy",
		Usage:       "ask the running server about its policies",
		Subcommands: []*cli.Command{policyExplainCommand()},
	}
}

func policyExplainCommand() *cli.Command {
	return &cli.Command{
		Name:  "explain",
		Usage: "say whether a principal may do something with a key, and which statement decides",
		Description: "Prints JSON: whether the request would be allowed, AWS's text if not, the statements that decided, and every statement " +
			"with the reason if it does not apply. What is known of the principal and of the key comes from the server; of the request " +
			"only what the flags say. Exit code 0 means that there is an answer, not that it is yes. Asks over the admin socket in the " +
			"data directory, so it works for the server's own user only.",
		Flags: append(settingFlags(),
			&cli.StringFlag{Name: "principal", Required: true, Usage: "ARN of a user, a role, a session of one, or an account's root user"},
			&cli.StringFlag{Name: "action", Required: true, Usage: "the action, such as kms:Encrypt"},
			&cli.StringFlag{Name: "key", Usage: "key id, key ARN or alias; none for an action without a key"},
			&cli.StringFlag{Name: "region", Usage: "the Region of the request (default: the server's)"},
			&cli.StringSliceFlag{Name: "context", Usage: "a pair of the encryption context, `key=value`; may be repeated"},
			&cli.StringSliceFlag{Name: "condition", Usage: "a value of a condition key, `key=value`; may be repeated, for one key too"},
		),
		Action: func(c *cli.Context) error {
			request, err := explainRequest(c)
			if err != nil {
				return usageError{err}
			}
			var answer ops.Explanation
			if err := postAdmin(c, "/policy/explain", request, &answer); err != nil {
				return err
			}
			return printJSON(c.App.Writer, answer)
		},
	}
}

func explainRequest(c *cli.Context) (ops.ExplainRequest, error) {
	request := ops.ExplainRequest{
		Principal: c.String("principal"), Action: c.String("action"), Key: c.String("key"), Region: c.String("region"),
		Context: map[string]string{}, Conditions: map[string][]string{},
	}
	for _, pair := range c.StringSlice("context") {
		key, value, found := strings.Cut(pair, "=")
		if !found {
			return request, fmt.Errorf("--context %q is not key=value", pair)
		}
		request.Context[key] = value
	}
	for _, pair := range c.StringSlice("condition") {
		key, value, found := strings.Cut(pair, "=")
		if !found {
			return request, fmt.Errorf("--condition %q is not key=value", pair)
		}
		request.Conditions[key] = append(request.Conditions[key], value)
	}
	return request, nil
}
