package main

import (
	"strings"
	"testing"
)

func TestConfigMetrics(t *testing.T) {
	config, err := loadConfig(writeConfig(t, "metrics: {listen: '127.0.0.1:9464'}\n"), environment(map[string]string{"KMS11_METRICS_PLAINTEXT": "true"}))
	if err != nil || config.Metrics != (MetricsConfig{Listen: "127.0.0.1:9464", Plaintext: true}) || config.check() != nil {
		t.Errorf("got %+v, %v, %v", config.Metrics, err, config.check())
	}
	own, endpoint := TLSConfig{Certificate: "own", Key: "k"}, TLSConfig{Certificate: "endpoint", Key: "k"}
	for name, c := range map[string]struct {
		metrics  MetricsConfig
		endpoint TLSConfig
		refused  string    // a part of the reason
		uses     TLSConfig // otherwise
	}{
		"off":                       {MetricsConfig{}, endpoint, "", TLSConfig{}},
		"loopback":                  {MetricsConfig{Listen: "127.0.0.1:0"}, TLSConfig{}, "", TLSConfig{}},
		"loopback with a server's":  {MetricsConfig{Listen: "127.0.0.1:0"}, endpoint, "", endpoint},
		"off loopback":              {MetricsConfig{Listen: "0.0.0.0:0"}, TLSConfig{}, "plaintext would cross", TLSConfig{}},
		"every address":             {MetricsConfig{Listen: ":0"}, TLSConfig{}, "plaintext would cross", TLSConfig{}},
		"off loopback, server's":    {MetricsConfig{Listen: "0.0.0.0:0"}, endpoint, "", endpoint},
		"off loopback, its own":     {MetricsConfig{Listen: "0.0.0.0:0", TLS: own}, endpoint, "", own},
		"off loopback in plaintext": {MetricsConfig{Listen: "0.0.0.0:0", Plaintext: true}, endpoint, "", TLSConfig{}},
		"both":                      {MetricsConfig{Listen: "127.0.0.1:0", Plaintext: true, TLS: own}, TLSConfig{}, "exclude", TLSConfig{}},
		"half a pair":               {MetricsConfig{Listen: "127.0.0.1:0", TLS: TLSConfig{Key: "k"}}, TLSConfig{}, "both certificate and key", TLSConfig{}},
		"no listener":               {MetricsConfig{TLS: own}, TLSConfig{}, "no listen", TLSConfig{}},
		"no address":                {MetricsConfig{Listen: "127.0.0.1"}, TLSConfig{}, "metrics.listen", TLSConfig{}},
	} {
		err := c.metrics.check(c.endpoint)
		if (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("%s: %v, want %q", name, err, c.refused)
		}
		if got := c.metrics.certificate(c.endpoint); err == nil && got != c.uses {
			t.Errorf("%s: it uses the certificate %q, want %q", name, got.Certificate, c.uses.Certificate)
		}
	}
}
