package main

import (
	"errors"
	"fmt"
)

// MetricsConfig is the endpoint that Prometheus reads.
type MetricsConfig struct {
	// Listen is the address of GET /metrics; empty: none. Any address but a loopback one needs TLS, or
	// Plaintext. Whoever can reach it can read it: see docs/metrics.md.
	Listen string `yaml:"listen"`
	// TLS is the endpoint's certificate and key; none: those of the KMS endpoint.
	TLS TLSConfig `yaml:"tls"`
	// Plaintext serves without TLS whatever the address is and whatever certificates there are.
	Plaintext bool `yaml:"plaintext"`
}

// check refuses settings that cannot work or would not be safe. tls is the KMS endpoint's.
func (c *MetricsConfig) check(tls TLSConfig) error {
	if c.Listen == "" {
		if c.Plaintext || c.TLS != (TLSConfig{}) {
			return errors.New("config: metrics has no listen")
		}
		return nil
	}
	loopback, err := isLoopback(c.Listen)
	switch {
	case err != nil:
		return fmt.Errorf("config: metrics.listen: %w", err)
	case (c.TLS.Certificate == "") != (c.TLS.Key == ""):
		return errors.New("config: metrics.tls needs both certificate and key")
	case c.Plaintext && c.TLS.Certificate != "":
		return errors.New("config: metrics.plaintext and metrics.tls exclude each other")
	case !loopback && !c.Plaintext && c.certificate(tls).Certificate == "":
		return fmt.Errorf("config: metrics: %s is not a loopback address and plaintext would cross the network: set metrics.tls.certificate and metrics.tls.key, or metrics.plaintext", c.Listen)
	}
	return nil
}

// certificate is what the endpoint uses; its zero value is plaintext.
func (c *MetricsConfig) certificate(endpoint TLSConfig) TLSConfig {
	switch {
	case c.Listen == "" || c.Plaintext:
		return TLSConfig{}
	case c.TLS.Certificate != "":
		return c.TLS
	}
	return endpoint
}
