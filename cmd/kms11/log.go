package main

import (
	"io"
	"log/slog"
)

// newLogger makes the logger that the configuration asks for; check has seen to its values.
func newLogger(c LogConfig, to io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level))
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(to, options))
	}
	return slog.New(slog.NewTextHandler(to, options))
}
