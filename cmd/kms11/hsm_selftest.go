package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/kms11/kms11/hsm"
)

func selfTestCommand(asJSON cli.Flag) *cli.Command {
	return &cli.Command{
		Name:  "selftest",
		Usage: "compare the token's answers with published ones, mechanism by mechanism",
		Description: "Puts published keys into the token as session objects, which nothing else uses, and fails if an answer is not the published one. " +
			"What the token does not do is no failure; kms11 hsm probe says what follows from it.",
		Flags:  append(settingFlags(), tokenFlag(), asJSON),
		Action: func(c *cli.Context) error { return withTokens(c, printSelfTest) },
	}
}

func printSelfTest(ctx context.Context, c *cli.Context, token *hsm.Token) error {
	answers, err := hsm.SelfTest(ctx, token)
	if err != nil {
		return err
	}
	wrong := 0
	rows := [][]string{{"MECHANISM", "RESULT", "SOURCE", "DETAIL"}}
	for _, a := range answers {
		result := "ok"
		switch {
		case a.Unsupported:
			result = "not supported"
		case !a.OK:
			result = "WRONG"
			wrong++
		}
		rows = append(rows, []string{a.Name, result, a.Source, a.Detail})
	}
	if c.Bool("json") {
		err = printJSON(c.App.Writer, answers)
	} else {
		err = table(c.App.Writer, rows)
	}
	if err == nil && wrong > 0 {
		err = tokenError{fmt.Errorf("the token gave %d wrong answers: do not use it", wrong)}
	}
	return err
}
