package main

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/kms"
)

// Config is every setting of kms11. It is read from a YAML file (serve --config FILE); each
// setting can be overridden by an environment variable named KMS11_ and the path of the field,
// such as KMS11_LISTEN, KMS11_RUN_MESSAGES or KMS11_TOKENS (a list: separated by spaces).
// Command-line flags win over both. An unknown field is an error.
type Config struct {
	// Data is the directory of the keystore, of admin.env, of the admin socket and, unless Tokens
	// names others, of kms11's own SoftHSM2 token.
	Data string `yaml:"data"`
	// Listen is the address of the KMS endpoint. Any address but a loopback one needs TLS.
	Listen string `yaml:"listen"`
	// Account is the AWS account id of the server's administrator: 12 digits. It is chosen when
	// the keystore is made, 000000000000 unless set; after that it can be left out.
	Account string `yaml:"account"`
	// Region is the AWS Region that the endpoint serves, and the administrator's own.
	Region string `yaml:"region"`
	// Regions are more Regions that the endpoint serves, each with keys and aliases of its own; the
	// Region of a request's signature chooses. All are in the partition of Region.
	Regions []string `yaml:"regions"`
	// Dev accepts any access key as its account's root user, without checking signatures, and any
	// Region. Only on a loopback address.
	Dev bool `yaml:"dev"`
	// TLS is the server's certificate chain and private key.
	TLS TLSConfig `yaml:"tls"`
	// Tokens are the PKCS #11 URIs (RFC 7512) of the tokens of the domain, each with module-path
	// and pin-source. None: kms11 makes a SoftHSM2 token of its own in Data.
	Tokens []string `yaml:"tokens"`
	// RegionTokens are the tokens of Regions that have some of their own.
	RegionTokens RegionTokens `yaml:"regiontokens"`
	// Sessions is the number of sessions opened with each token for long calls (private-key
	// operations, key-pair generation); 0 means one for each processor.
	Sessions int `yaml:"sessions"`
	// Handles bounds the session objects kept in each token; 0 means 32768.
	Handles int `yaml:"handles"`
	// PublicOutside moves verifying and encrypting with public keys, which need no secret, out of
	// the tokens into Go's standard library, where that has the algorithm.
	PublicOutside bool `yaml:"publicoutside"`
	// ForbidPaddingOutside refuses RSA decryption and imports where a token does not have the hash
	// of the padding, instead of removing the padding outside the token.
	ForbidPaddingOutside bool `yaml:"forbidpaddingoutside"`
	// PairsAhead is the number of RSA pairs generated ahead for each use and size that was asked for;
	// 0 means 2, a negative number none.
	PairsAhead int `yaml:"pairsahead"`
	// Limits bounds hanging calls and leaks of the tokens' libraries, and connections.
	Limits LimitsConfig `yaml:"limits"`
	// Attestation names the roots of the enclaves that may be a request's Recipient.
	Attestation AttestationConfig `yaml:"attestation"`
	// Identities is a directory of files with users and roles, beside those in the keystore.
	Identities string `yaml:"identities"`
	// OIDC are the OpenID Connect issuers whose tokens AssumeRoleWithWebIdentity takes.
	OIDC []OIDCConfig `yaml:"oidc"`
	// MTLS lets client certificates stand for principals.
	MTLS MTLSConfig `yaml:"mtls"`
	// Run limits how long one derived message key is used.
	Run RunConfig `yaml:"run"`
	// Quotas limits what accounts may have and how often they may ask.
	Quotas QuotasConfig `yaml:"quotas"`
	// Services are the services that use keys for the accounts they serve.
	Services []ServiceConfig `yaml:"services"`
	// KeyStores is what custom key stores may be made of.
	KeyStores KeyStoresConfig `yaml:"keystores"`
	// XKS is the external key store proxy.
	XKS XKSConfig `yaml:"xks"`
	// Audit says how the audit trail is kept.
	Audit AuditConfig `yaml:"audit"`
	// Metrics is the endpoint that Prometheus reads.
	Metrics MetricsConfig `yaml:"metrics"`
	// Log sets what is logged on standard error.
	Log LogConfig `yaml:"log"`
}

// TLSConfig names the certificate and its key; both or none.
type TLSConfig struct {
	// Certificate is a PEM file: the server's certificate, then its intermediates.
	Certificate string `yaml:"certificate"`
	// Key is a PEM file, or the PKCS #11 URI of a key pair in a token, with object or id.
	Key string `yaml:"key"`
}

// AttestationConfig chooses whom to believe about enclaves. With neither setting, requests with a
// Recipient are refused.
type AttestationConfig struct {
	// NitroRoot trusts AWS's own root for Nitro Enclaves in the commercial Regions.
	NitroRoot bool `yaml:"nitroroot"`
	// Roots are PEM files of further roots.
	Roots []string `yaml:"roots"`
}

// RunConfig bounds a run of messages under one derived key. 1 message means strictly one key for
// each call, as AWS KMS does it, at the price of a derivation for each.
type RunConfig struct {
	Messages int `yaml:"messages"` // 0 means 65536
	Seconds  int `yaml:"seconds"`  // 0 means 60
}

// LogConfig chooses the level (debug, info, warn, error) and the format (text, json).
type LogConfig struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

// defaultAccount is the account of a keystore that is made without one being set.
const defaultAccount = "000000000000"

func defaultConfig() Config {
	return Config{
		Data:   "kms11-data",
		Listen: "127.0.0.1:8080",
		Region: "us-east-1",
		Audit:  AuditConfig{Mode: "strict"},
		Log:    LogConfig{Level: "info", Format: "text"},
	}
}

// loadConfig reads the file, if one is named, over the defaults, and the environment over both.
func loadConfig(file string, environment func(string) (string, bool)) (Config, error) {
	config := defaultConfig()
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return config, fmt.Errorf("config: %w", err)
		}
		if err := decodeYAML(text, &config); err != nil {
			return config, fmt.Errorf("config: %s: %s", file, yamlText(err))
		}
	}
	return config, override(reflect.ValueOf(&config).Elem(), "KMS11", environment)
}

// decodeYAML reads YAML of which every field is known.
func decodeYAML(text []byte, into any) error {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// override sets each field for which the environment has a variable.
func override(v reflect.Value, prefix string, environment func(string) (string, bool)) error {
	for i := range v.NumField() {
		name := prefix + "_" + strings.ToUpper(v.Type().Field(i).Tag.Get("yaml"))
		field := v.Field(i)
		if field.Kind() == reflect.Struct {
			if err := override(field, name, environment); err != nil {
				return err
			}
			continue
		}
		text, set := environment(name)
		if !set {
			continue
		}
		var err error
		if u, ok := field.Addr().Interface().(encoding.TextUnmarshaler); ok {
			if err := u.UnmarshalText([]byte(text)); err != nil {
				return fmt.Errorf("config: environment variable %s: %w", name, err)
			}
			continue
		}
		if field.Kind() == reflect.Slice && field.Type().Elem().Kind() == reflect.Struct {
			if err := decodeYAML([]byte(text), field.Addr().Interface()); err != nil {
				return fmt.Errorf("config: environment variable %s: %s", name, yamlText(err))
			}
			continue
		}
		switch field.Kind() {
		case reflect.String:
			field.SetString(text)
		case reflect.Slice:
			field.Set(reflect.ValueOf(strings.Fields(text)))
		case reflect.Int:
			var n int64
			n, err = strconv.ParseInt(text, 10, 32)
			field.SetInt(n)
		case reflect.Bool:
			var b bool
			b, err = strconv.ParseBool(text)
			field.SetBool(b)
		}
		if err != nil {
			return fmt.Errorf("config: environment variable %s: %q is not of type %s", name, text, field.Kind())
		}
	}
	return nil
}

var (
	accountForm  = regexp.MustCompile(`^[0-9]{12}$`)
	unknownField = regexp.MustCompile(`field (\S+) not found in type \S+`)
	regionForm   = regexp.MustCompile(`^([a-z]+-){2,3}[0-9]+$`)
)

// maxSessions is far more than any token serves at once; a larger number is a mistake.
const maxSessions = 1024

// maxPairsAhead bounds the session objects that wait in a token, and the minutes after a start in
// which it does nothing but make them.
const maxPairsAhead = 64

// check refuses settings that cannot work or would not be safe.
func (c *Config) check() error {
	switch {
	case c.Data == "":
		return errors.New("config: data names a directory")
	case strings.ContainsFunc(c.Data, unicode.IsControl):
		return fmt.Errorf("config: data %q has a control character", c.Data)
	case c.Account != "" && !accountForm.MatchString(c.Account):
		return fmt.Errorf("config: account %q is not 12 digits", c.Account)
	case !regionForm.MatchString(c.Region) || len(c.Region) > 32: // AWS: RegionType
		return fmt.Errorf("config: region %q is not of the form us-east-1", c.Region)
	case (c.TLS.Certificate == "") != (c.TLS.Key == ""):
		return errors.New("config: tls needs both certificate and key")
	case c.Sessions > maxSessions:
		return fmt.Errorf("config: sessions is at most %d", maxSessions)
	case c.PairsAhead > maxPairsAhead:
		return fmt.Errorf("config: pairsahead is at most %d", maxPairsAhead)
	case c.Limits.Call < 0 || c.Limits.Pair < 0 || c.Limits.Leak < 0 || c.Limits.Connections < 0:
		return errors.New("config: limits.call, limits.pair, limits.leak and limits.connections are not negative")
	case c.Sessions < 0 || c.Handles < 0 || c.Run.Messages < 0 || c.Run.Seconds < 0:
		return errors.New("config: sessions, handles, run.messages and run.seconds are not negative")
	}
	for _, region := range c.Regions {
		switch {
		case !regionForm.MatchString(region):
			return fmt.Errorf("config: regions: %q is not of the form us-east-1", region)
		case kms.PartitionOf(region) != kms.PartitionOf(c.Region):
			return fmt.Errorf("config: regions: %s is not in the partition %s of %s", region, kms.PartitionOf(c.Region), c.Region)
		}
	}
	for _, uri := range c.Tokens {
		if err := checkTokenURI(uri); err != nil {
			return fmt.Errorf("config: tokens: %w", err)
		}
	}
	if err := c.checkRegionTokens(); err != nil {
		return err
	}
	if err := new(slog.Level).UnmarshalText([]byte(c.Log.Level)); err != nil {
		return fmt.Errorf("config: log.level %q is not debug, info, warn or error", c.Log.Level)
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		return fmt.Errorf("config: log.format %q is not text or json", c.Log.Format)
	}
	for i, p := range providers(c.OIDC, defaultAccount) {
		if err := p.Check(); err != nil {
			return fmt.Errorf("config: oidc[%d]: %w", i, err)
		}
	}
	if err := c.MTLS.check(c.TLS.Certificate != ""); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if err := errors.Join(c.Quotas.check(), checkServices(c.Services), c.Audit.check()); err != nil {
		return err
	}
	loopback, err := isLoopback(c.Listen)
	switch {
	case err != nil:
		return fmt.Errorf("config: listen: %w", err)
	case c.Dev && !loopback:
		return fmt.Errorf("config: dev mode checks no signatures and runs on a loopback address only, not on %s: listen on 127.0.0.1", c.Listen)
	case !loopback && c.TLS.Certificate == "":
		return fmt.Errorf("config: %s is not a loopback address and plaintext would cross the network: set tls.certificate and tls.key, or listen on 127.0.0.1", c.Listen)
	}
	return errors.Join(c.KeyStores.check(), c.XKS.check(c.TLS), c.Metrics.check(c.TLS))
}

// checkTokenURI refuses what cannot name a token of the domain.
func checkTokenURI(text string) error {
	uri, err := hsm.ParseURI(text)
	if err == nil && uri.ModulePath == "" {
		err = fmt.Errorf("%s names no PKCS #11 library: add ?module-path=/path/to/library.so", uri)
	}
	return err
}

// serves says whether the endpoint serves a Region: in dev mode every one.
func (c *Config) serves(region string) bool {
	return c.Dev || region == c.Region || slices.Contains(c.Regions, region)
}

// isLoopback reports whether an address is reached from this machine only.
func isLoopback(listen string) (bool, error) {
	address, err := net.ResolveTCPAddr("tcp", listen)
	if err != nil {
		return false, err
	}
	return address.IP.IsLoopback(), nil
}

// yamlText is an error of YAML without the names of Go's types.
func yamlText(err error) string {
	text := strings.TrimPrefix(oneLine(err), "yaml: ")
	return unknownField.ReplaceAllString(strings.TrimPrefix(text, "unmarshal errors: "), "there is no setting $1")
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
