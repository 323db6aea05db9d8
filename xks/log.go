package xks

import (
	"log/slog"
	"net/http"
	"time"
)

// log writes the log line of a request: all of its metadata, nothing of its data.
func (e *exchange) log(status int, known *Error, err error, took time.Duration) {
	level := slog.LevelInfo
	// Anybody can ask for what is not implemented.
	if status >= http.StatusInternalServerError && status != http.StatusNotImplemented && e.r.Context().Err() == nil {
		level = slog.LevelError
	}
	to := e.handler.requests.Handler()
	if !to.Enabled(e.r.Context(), level) {
		return
	}
	var line logLine
	if e.request != nil && e.request.Metadata != nil {
		m := e.request.Metadata
		line.add("kmsRequestId", m.RequestID)
		line.add("kmsOperation", m.Operation)
		line.add("principal", m.PrincipalARN)
		line.add("kmsKeyArn", m.KeyARN)
		line.add("sourceVpc", m.SourceVPC)
		line.add("sourceVpce", m.SourceVPCE)
		line.add("viaService", m.ViaService)
	}
	if e.found {
		line.add("tenant", e.target.prefix)
		line.add("operation", string(e.target.operation))
		line.add("key", e.target.keyID)
	} else {
		line.add("path", e.r.URL.Path)
	}
	line.add("accessKeyId", e.signer.AccessKeyID)
	if e.signer.AccessKeyID == "" {
		line.add("claimedAccessKeyId", e.claimed())
	}
	line.add("region", e.signer.Region)
	line.put(slog.Int("status", status))
	if known != nil {
		line.add("error", known.Name)
		line.add("message", known.Message)
		if cause := err.Error(); cause != known.Error() {
			line.add("cause", cause)
		}
	}
	line.put(slog.Int64("micros", took.Microseconds()))
	// Not by way of the Logger, which would look up where in the source this is.
	record := slog.NewRecord(time.Now(), level, "xks", 0)
	record.AddAttrs(line.attributes[:line.n]...)
	_ = to.Handle(e.r.Context(), record) // as the Logger does: there is nowhere to tell it
}

// A logLine is a line in the making. It has room for every attribute of one.
type logLine struct {
	attributes [19]slog.Attr
	n          int
}

// add adds a text, unless it is empty.
func (l *logLine) add(name, value string) {
	if value != "" {
		l.put(slog.String(name, shortened(value)))
	}
}

func (l *logLine) put(a slog.Attr) {
	l.attributes[l.n] = a
	l.n++
}

// maxLogged bounds what one field of a request puts into the log, in bytes.
const maxLogged = MaxARN

func shortened(s string) string {
	if len(s) > maxLogged {
		return s[:maxLogged] + "..."
	}
	return s
}
