package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/kms11/kms11/api"
	"github.com/kms11/kms11/oidc"
)

// OIDCConfig is an OpenID Connect issuer whose tokens roles of an account may trust.
type OIDCConfig struct {
	// Issuer is the tokens' iss: an https URL, or http on a loopback address.
	Issuer string `yaml:"issuer"`
	// Audiences are what tokens may be made for; one of them has to be in a token's aud, or be its azp.
	Audiences []string `yaml:"audiences"`
	// Account is the account whose roles may trust the issuer; the default one if it is not set.
	Account string `yaml:"account"`
	// CA is a PEM file with the roots of the issuer's certificate; the system's if it is not set.
	CA string `yaml:"ca"`
	// JWKS is a file with the issuer's keys, which are fetched from the issuer if it is not set.
	JWKS string `yaml:"jwks"`
}

// MTLSConfig lets client certificates stand for principals.
type MTLSConfig struct {
	// CA is a PEM file with the roots of the client certificates. None: no certificate is asked for.
	CA string `yaml:"ca"`
	// Required refuses connections without a certificate.
	Required bool `yaml:"required"`
	// Principals say whom a certificate stands for when a request has no signature.
	Principals []MTLSRule `yaml:"principals"`
}

// MTLSRule is one row of the map: exactly one of the first four members, and the principal.
type MTLSRule struct {
	URI    string `yaml:"uri"`    // a URI in the subject alternative names, such as a SPIFFE id
	DNS    string `yaml:"dns"`    // a DNS name there
	CN     string `yaml:"cn"`     // the subject's common name
	SHA256 string `yaml:"sha256"` // the certificate's fingerprint, with or without colons

	// Principal is the ARN of a user or a role.
	Principal string `yaml:"principal"`
}

// providers are the issuers as package oidc has them; account is the default one.
func providers(list []OIDCConfig, account string) []oidc.Provider {
	made := make([]oidc.Provider, len(list))
	for i, c := range list {
		if c.Account == "" {
			c.Account = account
		}
		made[i] = oidc.Provider{Account: c.Account, Issuer: c.Issuer, Audiences: c.Audiences, CAFile: c.CA, JWKSFile: c.JWKS}
	}
	return made
}

// rules are the rows of the map as package api has them.
func (m *MTLSConfig) rules() []api.CertificateRule {
	made := make([]api.CertificateRule, len(m.Principals))
	for i, r := range m.Principals {
		made[i] = api.CertificateRule{
			URI: r.URI, DNS: r.DNS, CommonName: r.CN, Principal: r.Principal,
			Fingerprint: strings.ToLower(strings.ReplaceAll(r.SHA256, ":", "")),
		}
	}
	return made
}

// check refuses what cannot work or would not be safe.
func (m *MTLSConfig) check(tls bool) error {
	if m.CA == "" {
		if m.Required || len(m.Principals) > 0 {
			return errors.New("mtls needs ca, the roots of the client certificates")
		}
		return nil
	}
	if !tls {
		return errors.New("mtls needs tls.certificate and tls.key")
	}
	for i, rule := range m.rules() {
		set := 0
		for _, condition := range []string{rule.URI, rule.DNS, rule.CommonName, rule.Fingerprint} {
			if condition != "" {
				set++
			}
		}
		if set != 1 {
			return fmt.Errorf("mtls.principals[%d] has one of uri, dns, cn and sha256", i)
		}
		if digits, err := hex.DecodeString(rule.Fingerprint); err != nil || rule.Fingerprint != "" && len(digits) != 32 {
			return fmt.Errorf("mtls.principals[%d]: sha256 is not 64 hexadecimal digits", i)
		}
		if _, err := url.Parse(rule.URI); err != nil {
			return fmt.Errorf("mtls.principals[%d]: uri is no URI", i)
		}
		if !strings.Contains(rule.Principal, ":user/") && !strings.Contains(rule.Principal, ":role/") {
			return fmt.Errorf("mtls.principals[%d]: principal %q is not the ARN of a user or a role", i, rule.Principal)
		}
	}
	return nil
}
