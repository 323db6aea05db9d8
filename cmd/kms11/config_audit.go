package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/kms11/kms11/audit"
)

// AuditConfig says how the audit trail is kept. It cannot be switched off.
type AuditConfig struct {
	// Mode is strict (an answer leaves only after its event is on the disk) or async (after it was
	// written; synced at an interval).
	Mode string `yaml:"mode"`
	// Directory holds the trail; empty: audit in the data directory.
	Directory string `yaml:"directory"`
	// RotateMegabytes and RotateHours say when a file of the trail is full.
	RotateMegabytes int `yaml:"rotatemegabytes"` // 0 means 64
	RotateHours     int `yaml:"rotatehours"`     // 0 means 24
	// SyncMilliseconds is the sync interval of async.
	SyncMilliseconds int `yaml:"syncmilliseconds"` // 0 means 200
	// DigestSeconds is the interval of signed digests.
	DigestSeconds int `yaml:"digestseconds"` // 0 means 300
	// Stdout writes each record to standard output as well.
	Stdout bool `yaml:"stdout"`
	// Syslog sends each record to a syslog server as well: udp://HOST:PORT, tcp://HOST:PORT or
	// unixgram:PATH, such as unixgram:/dev/log.
	Syslog string `yaml:"syslog"`
	// HTTP posts records to a server as well.
	HTTP AuditHTTPConfig `yaml:"http"`
}

// AuditHTTPConfig names a server that takes records by POST, one JSON object a line.
type AuditHTTPConfig struct {
	URL string `yaml:"url"`
	// TokenFile holds a token for the header Authorization: Bearer.
	TokenFile string `yaml:"tokenfile"`
	// CA is a PEM file of the certificates that may vouch for the server; empty: the system's.
	CA string `yaml:"ca"`
}

func (c *AuditConfig) check() error {
	switch {
	case c.Mode != string(audit.Strict) && c.Mode != string(audit.Async):
		return fmt.Errorf("config: audit.mode %q is not strict or async", c.Mode)
	case c.RotateMegabytes < 0 || c.RotateHours < 0 || c.SyncMilliseconds < 0 || c.DigestSeconds < 0:
		return errors.New("config: audit.rotatemegabytes, audit.rotatehours, audit.syncmilliseconds and audit.digestseconds are not negative")
	case c.HTTP.URL == "" && (c.HTTP.TokenFile != "" || c.HTTP.CA != ""):
		return errors.New("config: audit.http has no url")
	}
	if c.Syslog != "" {
		if _, err := syslogSink(c.Syslog); err != nil {
			return err
		}
	}
	if c.HTTP.URL == "" {
		return nil
	}
	target, err := url.Parse(c.HTTP.URL)
	if err != nil || target.Host == "" || target.Scheme != "https" && target.Scheme != "http" {
		return errors.New("config: audit.http.url is not a URL of the form https://host/path")
	}
	if target.Scheme == "http" && c.HTTP.TokenFile != "" {
		if ip := net.ParseIP(target.Hostname()); target.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return errors.New("config: audit.http.tokenfile: the token would cross the network in clear: use https")
		}
	}
	return nil
}

func syslogSink(target string) (audit.Sink, error) {
	network, address, found := strings.Cut(target, ":")
	switch network {
	case "udp", "tcp":
		host := strings.TrimPrefix(address, "//")
		if _, _, err := net.SplitHostPort(host); err == nil && found {
			return &audit.SyslogSink{Network: network, Address: host}, nil
		}
	case "unixgram", "unix":
		if strings.HasPrefix(address, "/") {
			return &audit.SyslogSink{Network: network, Address: address}, nil
		}
	}
	return nil, fmt.Errorf("config: audit.syslog %q is not udp://HOST:PORT, tcp://HOST:PORT or unixgram:PATH", target)
}

// httpSinkTimeout is for one answer of the server.
const httpSinkTimeout = 20 * time.Second

func httpSink(c AuditHTTPConfig) (audit.Sink, error) {
	sink := &audit.HTTPSink{URL: c.URL, Client: &http.Client{Timeout: httpSinkTimeout}}
	if c.TokenFile != "" {
		token, err := os.ReadFile(c.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("config: audit.http.tokenfile: %w", err)
		}
		sink.Token = strings.TrimSpace(string(token))
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if c.CA != "" {
		text, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("config: audit.http.ca: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("config: audit.http.ca: %s holds no certificate", c.CA)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	sink.Client.Transport = transport
	return sink, nil
}

// sinks are the places beside the file that the configuration names.
func (c *AuditConfig) sinks() ([]audit.Sink, error) {
	var sinks []audit.Sink
	if c.Stdout {
		sinks = append(sinks, audit.Stream("stdout", os.Stdout))
	}
	if c.Syslog != "" {
		sink, err := syslogSink(c.Syslog)
		if err != nil {
			return nil, usageError{err}
		}
		sinks = append(sinks, sink)
	}
	if c.HTTP.URL != "" {
		sink, err := httpSink(c.HTTP)
		if err != nil {
			return nil, usageError{err}
		}
		sinks = append(sinks, sink)
	}
	return sinks, nil
}
