package main

import (
	"fmt"
	"strings"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/kms"
)

// RegionTokens are the PKCS #11 URIs of the tokens in which Regions have their key material, each as in
// Tokens. A Region that is not named shares Tokens, which also authenticate the keystore and seal its
// secrets, for all Regions. In the environment it is a list of REGION=URI; a Region with several tokens
// is there several times.
type RegionTokens map[string][]string

// UnmarshalText reads the form that it has in the environment.
func (r *RegionTokens) UnmarshalText(text []byte) error {
	tokens := RegionTokens{}
	for _, entry := range strings.Fields(string(text)) {
		region, uri, ok := strings.Cut(entry, "=")
		if !ok {
			return fmt.Errorf("%q is not of the form REGION=URI", entry)
		}
		tokens[region] = append(tokens[region], uri)
	}
	*r = tokens
	return nil
}

// checkRegionTokens refuses Regions that are none and tokens that are none.
func (c *Config) checkRegionTokens() error {
	for region, uris := range c.RegionTokens {
		switch {
		case !regionForm.MatchString(region) || len(region) > 32:
			return fmt.Errorf("config: regiontokens: %q is not of the form us-east-1", region)
		case kms.PartitionOf(region) != kms.PartitionOf(c.Region):
			return fmt.Errorf("config: regiontokens: %s is not in the partition %s of %s", region, kms.PartitionOf(c.Region), c.Region)
		case len(uris) == 0:
			return fmt.Errorf("config: regiontokens: %s has no token", region)
		}
		for _, uri := range uris {
			if err := checkTokenURI(uri); err != nil {
				return fmt.Errorf("config: regiontokens: %s: %w", region, err)
			}
		}
	}
	return nil
}

// regionURIs are the tokens of Regions without PINs.
func (c *Config) regionURIs() map[string][]string {
	all := map[string][]string{}
	for region, uris := range c.RegionTokens {
		for _, text := range uris {
			if uri, err := hsm.ParseURI(text); err == nil { // as check has seen to
				all[region] = append(all[region], uri.WithoutPIN())
			}
		}
	}
	return all
}
