package main

import (
	"io"
	"log/slog"
)

// newLoggers makes the loggers of a server. The lines of requests may wait for others, until stop at the
// latest; they are in order with those of log.
func newLoggers(c LogConfig, to io.Writer) (log, requests *slog.Logger, stop func()) {
	lines := newLogLines(to)
	urgent := newLogHandler(c, lines)
	return slog.New(urgent), slog.New(requestLog{newLogHandler(c, patientLines{lines}), urgent}), lines.end
}

// newLogger makes the logger of a command that serves nothing.
func newLogger(c LogConfig, to io.Writer) *slog.Logger { return slog.New(newLogHandler(c, to)) }

func newLogHandler(c LogConfig, to io.Writer) slog.Handler {
	var level slog.Level // check has seen to the values
	_ = level.UnmarshalText([]byte(c.Level))
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.NewJSONHandler(to, options)
	}
	return slog.NewTextHandler(to, options)
}
