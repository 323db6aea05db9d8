package api

import (
	"log/slog"
	"net/http"
	"time"
)

const healthTimeout = 5 * time.Second

// maxHeader is the most that the headers of a request may have, in bytes. The longest are session tokens.
const maxHeader = 32 << 10

// NewServer makes an HTTP server with the limits of a public endpoint. Keep-alive connections
// outlive the idle time of every SDK's pool.
func NewServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
