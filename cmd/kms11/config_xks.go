package main

import (
	"errors"
	"fmt"
)

// XKSConfig is the external key store proxy: an endpoint of its own, at which an AWS KMS or another
// kms11 uses keys of this server. Who may, and which, is administered with kms11 xks.
type XKSConfig struct {
	// Listen is the proxy's address; empty: no proxy. Any address but a loopback one needs TLS.
	Listen string `yaml:"listen"`
	// TLS is the proxy's certificate and key; none: those of the KMS endpoint.
	TLS TLSConfig `yaml:"tls"`
	// ClientCA is a PEM file of the roots that the clients' certificates come from. With it a client
	// has to have a certificate, whose common name is one of ClientNames: that of AWS KMS is
	// cks.kms.REGION.amazonaws.com.
	ClientCA    string   `yaml:"clientca"`
	ClientNames []string `yaml:"clientnames"`
	// Tokens are the PKCS #11 URIs of more tokens in which external keys may be objects. Those of
	// the domain need not be named.
	Tokens []string `yaml:"tokens"`
	// Credentials are files of the form that kms11 xks credential create prints, beside those in the
	// keystore. They may change while the server runs.
	Credentials []string `yaml:"credentials"`
	// Health is an address for GET /healthz without TLS, for a load balancer that has no client
	// certificate; empty: none. It answers nothing else.
	Health string `yaml:"health"`
	// FleetSize is how many proxies there are behind the endpoint; 0 means 1.
	FleetSize int `yaml:"fleetsize"`
	// Timeout bounds the wait for a token in one request, in milliseconds; 0 means 250, which is how
	// long AWS KMS waits.
	Timeout int `yaml:"timeout"`
}

// check refuses settings that cannot work or would not be safe. tls is the KMS endpoint's.
func (c *XKSConfig) check(tls TLSConfig) error {
	if c.Listen == "" {
		return nil
	}
	secured := c.TLS.Certificate != "" || tls.Certificate != ""
	loopback, err := isLoopback(c.Listen)
	switch {
	case err != nil:
		return fmt.Errorf("config: xks.listen: %w", err)
	case (c.TLS.Certificate == "") != (c.TLS.Key == ""):
		return errors.New("config: xks.tls needs both certificate and key")
	case !loopback && !secured:
		return fmt.Errorf("config: xks: %s is not a loopback address and plaintext would cross the network: set xks.tls.certificate and xks.tls.key", c.Listen)
	case (c.ClientCA == "") != (len(c.ClientNames) == 0):
		return errors.New("config: xks needs both clientca and clientnames, or neither")
	case c.ClientCA != "" && !secured:
		return errors.New("config: xks.clientca needs TLS: set xks.tls.certificate and xks.tls.key")
	case c.FleetSize < 0 || c.Timeout < 0:
		return errors.New("config: xks.fleetsize and xks.timeout are not negative")
	}
	if c.Health != "" {
		if _, err := isLoopback(c.Health); err != nil {
			return fmt.Errorf("config: xks.health: %w", err)
		}
	}
	for _, uri := range c.Tokens {
		if err := checkTokenURI(uri); err != nil {
			return fmt.Errorf("config: xks.tokens: %w", err)
		}
	}
	return nil
}
