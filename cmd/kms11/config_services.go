package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/kms11/kms11/ops"
)

// ServiceConfig is a service, such as an S3-compatible store, that uses keys for the accounts it
// serves. See docs/services.md for what it may do.
type ServiceConfig struct {
	// Principal is the service principal, such as s3.amazonaws.com.
	Principal string `yaml:"principal"`
	// Alias is what follows alias/aws/ in the names of its keys; the first part of Principal unless
	// set.
	Alias string `yaml:"alias"`
	// AccessKey is the id of the access key that the service signs with.
	AccessKey string `yaml:"accesskey"`
	// SecretFile holds the secret access key; white space around it does not count.
	SecretFile string `yaml:"secretfile"`
	// Accounts are the accounts that it may act for; none: every account.
	Accounts []string `yaml:"accounts"`
}

var (
	servicePrincipalForm = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)+$`)
	serviceAliasForm     = regexp.MustCompile(`^[a-zA-Z0-9/_-]{1,200}$`)
	accessKeyForm        = regexp.MustCompile(`^[A-Za-z0-9]{16,128}$`)
)

// minSecret is the length of the shortest secret access key that is taken, in characters.
const minSecret = 32

func (s *ServiceConfig) check() error {
	switch {
	case !servicePrincipalForm.MatchString(s.Principal):
		return fmt.Errorf("config: services: principal %q is not of the form s3.amazonaws.com", s.Principal)
	case s.Alias != "" && !serviceAliasForm.MatchString(s.Alias):
		return fmt.Errorf("config: services: alias %q of %s cannot follow alias/aws/", s.Alias, s.Principal)
	case !accessKeyForm.MatchString(s.AccessKey):
		return fmt.Errorf("config: services: accesskey of %s is not 16 to 128 letters and digits", s.Principal)
	case s.SecretFile == "":
		return fmt.Errorf("config: services: %s needs a secretfile", s.Principal)
	}
	for _, account := range s.Accounts {
		if !accountForm.MatchString(account) {
			return fmt.Errorf("config: services: account %q of %s is not 12 digits", account, s.Principal)
		}
	}
	return nil
}

// checkServices refuses services that cannot be told apart.
func checkServices(services []ServiceConfig) error {
	seen := make(map[string]bool)
	for i := range services {
		s := &services[i]
		if err := s.check(); err != nil {
			return err
		}
		for _, name := range []string{"principal " + s.Principal, "accesskey " + s.AccessKey, "alias " + s.alias()} {
			if seen[name] {
				return fmt.Errorf("config: services: two have the %s", name)
			}
			seen[name] = true
		}
	}
	return nil
}

func (s *ServiceConfig) alias() string {
	if s.Alias != "" {
		return s.Alias
	}
	name, _, _ := strings.Cut(s.Principal, ".")
	return name
}

// openServices reads the secrets.
func openServices(configs []ServiceConfig) ([]ops.ServiceIdentity, error) {
	var services []ops.ServiceIdentity
	for i := range configs {
		c := &configs[i]
		text, err := os.ReadFile(c.SecretFile)
		if err != nil {
			return nil, usageError{fmt.Errorf("config: services: secretfile of %s: %w", c.Principal, err)}
		}
		secret := strings.TrimSpace(string(text))
		clear(text)
		if len(secret) < minSecret {
			return nil, usageError{errors.New("config: services: the secret in " + c.SecretFile + fmt.Sprintf(" has fewer than %d characters", minSecret))}
		}
		services = append(services, ops.ServiceIdentity{
			Principal: c.Principal, Alias: c.alias(), AccessKeyID: c.AccessKey, Secret: secret, Accounts: c.Accounts,
		})
	}
	return services, nil
}
