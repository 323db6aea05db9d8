package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/kms11/kms11/ops"
)

// QuotasConfig limits what an account may have and how often it may ask. See docs/quotas.md.
type QuotasConfig struct {
	// Keys is how many KMS keys an account may have in a Region; 0 means AWS's 100,000.
	Keys int `yaml:"keys"`
	// Aliases is how many aliases a key may have; 0 means AWS's 50.
	Aliases int `yaml:"aliases"`
	// Grants is how many grants a key may have; 0 means AWS's 50,000.
	Grants int `yaml:"grants"`
	// Rates is "aws" for AWS's default request quotas, or "off", as it is without it.
	Rates string `yaml:"rates"`
	// Requests are requests a second of an account in a Region by family of operations, over those
	// that Rates turns on; 0 lifts a limit. In the environment: family=rate, separated by spaces.
	Requests Rates `yaml:"requests"`
	// Principal are the same for each principal of an account.
	Principal Rates `yaml:"principal"`
}

// Rates are requests a second by family.
type Rates map[string]float64

// UnmarshalText reads the form that the environment has.
func (r *Rates) UnmarshalText(text []byte) error {
	rates := make(Rates)
	for _, pair := range strings.Fields(string(text)) {
		family, number, _ := strings.Cut(pair, "=")
		rate, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return fmt.Errorf("%q is not of the form family=rate", pair)
		}
		rates[family] = rate
	}
	*r = rates
	return nil
}

const (
	maxRate = 1_000_000
	// More aliases would make a key's record, which names them all, too large.
	maxAliasQuota = 1_000
	// More than these would not fit the scans that some operations make.
	maxGrantQuota = 1_000_000
	maxKeyQuota   = 100_000_000
)

func (q *QuotasConfig) check() error {
	for _, limit := range []struct {
		name        string
		value, most int
	}{
		{"keys", q.Keys, maxKeyQuota}, {"aliases", q.Aliases, maxAliasQuota}, {"grants", q.Grants, maxGrantQuota},
	} {
		if limit.value < 0 || limit.value > limit.most {
			return fmt.Errorf("config: quotas.%s is from 0 to %d", limit.name, limit.most)
		}
	}
	if !slices.Contains([]string{"", "off", "aws"}, q.Rates) {
		return fmt.Errorf("config: quotas.rates %q is not aws or off", q.Rates)
	}
	for name, rates := range map[string]Rates{"requests": q.Requests, "principal": q.Principal} {
		for family, rate := range rates {
			switch {
			case !slices.Contains(ops.RateFamilies(), family):
				return fmt.Errorf("config: quotas.%s: %q is no family of operations: see docs/quotas.md", name, family)
			case math.IsNaN(rate) || rate < 0 || rate > maxRate:
				return fmt.Errorf("config: quotas.%s: the rate of %s is from 0 to %d a second", name, family, maxRate)
			}
		}
	}
	return nil
}

func (q *QuotasConfig) quotas() ops.Quotas {
	return ops.Quotas{
		Keys: q.Keys, Aliases: q.Aliases, Grants: q.Grants,
		AWSRates: q.Rates == "aws", Account: q.Requests, Principal: q.Principal,
	}
}
