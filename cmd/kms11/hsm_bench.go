package main

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/kms11/kms11/hsm"
)

func benchCommand(asJSON cli.Flag) *cli.Command {
	return &cli.Command{
		Name:  "bench",
		Usage: "measure calls per second and their times, mechanism by mechanism",
		Description: "Uses session objects and sessions of its own, so it takes its share of the token from whoever uses it meanwhile. " +
			"The figures are wall time on this machine.",
		Flags: append(settingFlags(), tokenFlag(), asJSON,
			&cli.IntSliceFlag{Name: "concurrency", Usage: "so many sessions at once, `N`; may be given several times", Value: cli.NewIntSlice(1, 2, 8)},
			&cli.DurationFlag{Name: "for", Usage: "measure each mechanism for `TIME`", Value: time.Second}),
		Action: func(c *cli.Context) error {
			for _, n := range c.IntSlice("concurrency") {
				if n < 1 || n > maxSessions {
					return usageError{fmt.Errorf("concurrency is from 1 to %d", maxSessions)}
				}
			}
			return withTokens(c, printBench)
		},
	}
}

func printBench(ctx context.Context, c *cli.Context, token *hsm.Token) error {
	figures, err := hsm.Measure(ctx, token, c.IntSlice("concurrency"), c.Duration("for"))
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.App.Writer, figures)
	}
	rows := [][]string{{"MECHANISM", "SESSIONS", "PER SECOND", "P50 µs", "P99 µs", "DETAIL"}}
	for _, m := range figures {
		row := []string{m.Name, fmt.Sprint(m.Concurrency), "", "", "", m.Detail}
		if m.Detail == "" {
			row[2], row[3], row[4] = fmt.Sprintf("%.0f", m.PerSecond), fmt.Sprintf("%.1f", m.P50Micros), fmt.Sprintf("%.1f", m.P99Micros)
		}
		rows = append(rows, row)
	}
	return table(c.App.Writer, rows)
}
