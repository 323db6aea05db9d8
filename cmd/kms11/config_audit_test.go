package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAuditSettings(t *testing.T) {
	for _, c := range []struct {
		change func(*AuditConfig)
		want   string // part of the error; empty for none
	}{
		{func(*AuditConfig) {}, ""},
		{func(c *AuditConfig) { c.Mode = "async" }, ""},
		{func(c *AuditConfig) { c.Mode = "off" }, `audit.mode "off"`},
		{func(c *AuditConfig) { c.Mode = "" }, "audit.mode"},
		{func(c *AuditConfig) { c.DigestSeconds = -1 }, "audit.digestseconds"},
		{func(c *AuditConfig) { c.Syslog = "udp://127.0.0.1:514" }, ""},
		{func(c *AuditConfig) { c.Syslog = "tcp://[::1]:514" }, ""},
		{func(c *AuditConfig) { c.Syslog = "unixgram:/dev/log" }, ""},
		{func(c *AuditConfig) { c.Syslog = "local" }, "audit.syslog"},
		{func(c *AuditConfig) { c.Syslog = "udp://127.0.0.1" }, "audit.syslog"},
		{func(c *AuditConfig) { c.HTTP.URL = "https://collector.example/in?key=k" }, ""},
		{func(c *AuditConfig) { c.HTTP.URL = "collector" }, "audit.http.url"},
		{func(c *AuditConfig) { c.HTTP.URL = "ftp://collector.example" }, "audit.http.url"},
		{func(c *AuditConfig) { c.HTTP.TokenFile = "x" }, "audit.http has no url"},
		{func(c *AuditConfig) { c.HTTP = AuditHTTPConfig{URL: "http://192.0.2.1/", TokenFile: "x"} }, "in clear"},
		{func(c *AuditConfig) { c.HTTP = AuditHTTPConfig{URL: "http://127.0.0.1/", TokenFile: "x"} }, ""},
	} {
		config := defaultConfig().Audit
		c.change(&config)
		err := config.check()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %q", config, err, c.want)
		}
	}
}

func TestAuditSinks(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := AuditConfig{Stdout: true, Syslog: "udp://127.0.0.1:514", HTTP: AuditHTTPConfig{URL: "https://collector.example/in?key=k", TokenFile: token}}
	sinks, err := config.sinks()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, sink := range sinks {
		names = append(names, sink.Name())
	}
	if got := strings.Join(names, ", "); got != "stdout, syslog udp 127.0.0.1:514, https://collector.example/in" {
		t.Errorf("sinks: %s", got)
	}
	for _, broken := range []AuditHTTPConfig{{URL: "https://c.example/", TokenFile: token + "x"}, {URL: "https://c.example/", CA: token}} {
		config.HTTP = broken
		if _, err := config.sinks(); err == nil {
			t.Errorf("%+v was taken", broken)
		}
	}
}

func TestParseMoment(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"": {}, "24h": now.Add(-24 * time.Hour), "2026-01-02T03:04:05Z": time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	} {
		if got, err := parseMoment(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	if _, err := parseMoment("yesterday", now); err == nil {
		t.Error("yesterday is a time")
	}
}
