package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func environment(variables map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := variables[name]
		return value, ok
	}
}

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kms11.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConfigPrecedence(t *testing.T) {
	file := writeConfig(t, "listen: 127.0.0.1:1\nregion: eu-west-1\nrun:\n  messages: 7\ntokens: [a]\n")
	config, err := loadConfig(file, environment(map[string]string{
		"KMS11_LISTEN": "127.0.0.1:2", "KMS11_RUN_SECONDS": "9", "KMS11_TOKENS": "b c", "KMS11_DEV": "true",
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := defaultConfig()
	want.Listen, want.Region, want.Dev = "127.0.0.1:2", "eu-west-1", true
	want.Run = RunConfig{Messages: 7, Seconds: 9}
	want.Tokens = []string{"b", "c"}
	if !reflect.DeepEqual(config, want) {
		t.Errorf("got %+v, want %+v", config, want)
	}
}

func TestConfigMistakes(t *testing.T) {
	for name, c := range map[string]struct{ file, want string }{
		"unknown field":        {"listen: 127.0.0.1:1\nlisen: x\n", "line 2"},
		"unknown nested field": {"run:\n  messages: 1\n  hours: 2\n", "line 3"},
		"wrong type":           {"handles: many\n", "line 1"},
	} {
		_, err := loadConfig(writeConfig(t, c.file), environment(nil))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want one line with %q", name, err, c.want)
		}
	}
	if _, err := loadConfig("", environment(map[string]string{"KMS11_HANDLES": "many"})); err == nil || !strings.Contains(err.Error(), "KMS11_HANDLES") {
		t.Errorf("environment of the wrong type: got %v", err)
	}
}

func TestConfigCheck(t *testing.T) {
	if c := defaultConfig(); c.check() != nil {
		t.Fatalf("the defaults are refused: %v", c.check())
	}
	for name, change := range map[string]func(*Config){
		"off loopback without TLS": func(c *Config) { c.Listen = "0.0.0.0:8080" },
		"every address":            func(c *Config) { c.Listen = ":8080" },
		"dev off loopback":         func(c *Config) { c.Dev, c.Listen, c.TLS = true, "0.0.0.0:8080", TLSConfig{"c", "k"} },
		"no port":                  func(c *Config) { c.Listen = "127.0.0.1" },
		"account":                  func(c *Config) { c.Account = "123" },
		"region":                   func(c *Config) { c.Region = "Europe" },
		"one of the Regions":       func(c *Config) { c.Regions = []string{"eu-west-1", "Europe"} },
		"another partition":        func(c *Config) { c.Regions = []string{"cn-north-1"} },
		"half of TLS":              func(c *Config) { c.TLS.Certificate = "c" },
		"log level":                func(c *Config) { c.Log.Level = "loud" },
		"log format":               func(c *Config) { c.Log.Format = "xml" },
		"negative":                 func(c *Config) { c.Handles = -1 },
		"no data":                  func(c *Config) { c.Data = "" },
		"issuer over http":         func(c *Config) { c.OIDC = []OIDCConfig{{Issuer: "http://example.com", Audiences: []string{"a"}}} },
		"issuer without audience":  func(c *Config) { c.OIDC = []OIDCConfig{{Issuer: "https://example.com"}} },
		"issuer's account": func(c *Config) {
			c.OIDC = []OIDCConfig{{Issuer: "https://example.com", Audiences: []string{"a"}, Account: "1"}}
		},
		"map without a CA": func(c *Config) {
			c.MTLS.Principals = []MTLSRule{{CN: "a", Principal: "arn:aws:iam::111122223333:user/a"}}
		},
		"mtls without TLS": func(c *Config) { c.MTLS.CA = "ca.pem" },
		"two conditions": func(c *Config) {
			c.withRule(MTLSRule{CN: "a", DNS: "b", Principal: "arn:aws:iam::111122223333:user/a"})
		},
		"no condition":            func(c *Config) { c.withRule(MTLSRule{Principal: "arn:aws:iam::111122223333:user/a"}) },
		"half a fingerprint":      func(c *Config) { c.withRule(MTLSRule{SHA256: "00ff", Principal: "arn:aws:iam::111122223333:user/a"}) },
		"an account as principal": func(c *Config) { c.withRule(MTLSRule{CN: "a", Principal: "arn:aws:iam::111122223333:root"}) },
	} {
		c := defaultConfig()
		change(&c)
		if c.check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, listen := range []string{"localhost:0", "[::1]:8080", "127.0.0.2:1"} {
		c := defaultConfig()
		c.Listen, c.Dev = listen, true
		if err := c.check(); err != nil {
			t.Errorf("%s: %v", listen, err)
		}
	}
}

// withRule makes a configuration whose only mistake can be the rule.
func (c *Config) withRule(rule MTLSRule) {
	c.TLS = TLSConfig{"c", "k"}
	c.MTLS = MTLSConfig{CA: "ca.pem", Principals: []MTLSRule{rule}}
}

// TestConfigIdentities reads the settings for issuers and client certificates, which only a file has.
func TestConfigIdentities(t *testing.T) {
	file := writeConfig(t, `
identities: /etc/kms11/identities
tls: {certificate: c, key: k}
oidc:
  - {issuer: "https://example.com/a", audiences: [sts.amazonaws.com], ca: ca.pem}
  - {issuer: "https://example.com/b", audiences: [x], account: "111122223333", jwks: keys.json}
mtls:
  ca: clients.pem
  principals:
    - {sha256: "`+strings.Repeat("AB:", 31)+`AB", principal: "arn:aws:iam::111122223333:role/a"}
`)
	config, err := loadConfig(file, environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := config.check(); err != nil {
		t.Fatal(err)
	}
	made := providers(config.OIDC, "444455556666")
	if made[0].Account != "444455556666" || made[1].Account != "111122223333" || made[0].CAFile != "ca.pem" || made[1].JWKSFile != "keys.json" {
		t.Errorf("the providers are %+v", made)
	}
	if rules := config.MTLS.rules(); rules[0].Fingerprint != strings.Repeat("ab", 32) {
		t.Errorf("the rules are %+v", rules)
	}
	if _, err := loadConfig(file, environment(map[string]string{"KMS11_OIDC": "x"})); err == nil || !strings.Contains(err.Error(), "KMS11_OIDC") {
		t.Errorf("a list of structures from the environment: %v", err)
	}
}

func TestConfigRegions(t *testing.T) {
	config, err := loadConfig(writeConfig(t, "region: eu-west-1\nregions: [us-east-1]\n"), environment(map[string]string{"KMS11_REGIONS": "us-west-2 eu-west-1"}))
	if err != nil {
		t.Fatal(err)
	}
	if err := config.check(); err != nil {
		t.Fatal(err)
	}
	for region, want := range map[string]bool{"eu-west-1": true, "us-west-2": true, "us-east-1": false} {
		if config.serves(region) != want {
			t.Errorf("%s is served: %v", region, !want)
		}
	}
	if config.Dev = true; !config.serves("us-east-1") {
		t.Error("dev mode does not serve every Region")
	}
}

// TestEverySettingIsDocumented holds the table in the operations guide to the struct.
func TestEverySettingIsDocumented(t *testing.T) {
	guide, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var walk func(reflect.Type, string, string)
	walk = func(of reflect.Type, path, variable string) {
		for i := range of.NumField() {
			name := of.Field(i).Tag.Get("yaml")
			if of.Field(i).Type.Kind() == reflect.Struct {
				walk(of.Field(i).Type, path+name+".", variable+"_"+strings.ToUpper(name))
				continue
			}
			for _, want := range []string{"`" + path + name + "`", "`" + variable + "_" + strings.ToUpper(name) + "`"} {
				if !strings.Contains(string(guide), want) {
					t.Errorf("docs/operations.md does not name %s", want)
				}
			}
		}
	}
	walk(reflect.TypeFor[Config](), "", "KMS11")
}

func TestConfigOfQuotasAndServices(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(strings.Repeat("s", 40)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := writeConfig(t, `
quotas:
  keys: 10
  rates: aws
  requests: {symmetric: 5000, GetParametersForImport: 0.5}
services:
  - {principal: s3.amazonaws.com, accesskey: S3S3S3S3S3S3S3S3, secretfile: `+secret+`}
  - {principal: ec2.amazonaws.com, alias: ebs, accesskey: EC2EC2EC2EC2EC2E, secretfile: `+secret+`, accounts: ["111122223333"]}
`)
	config, err := loadConfig(file, environment(map[string]string{
		"KMS11_QUOTAS_GRANTS": "7", "KMS11_QUOTAS_PRINCIPAL": "rsa=10 CreateKey=0.1",
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := QuotasConfig{Keys: 10, Grants: 7, Rates: "aws", Requests: Rates{"symmetric": 5000, "GetParametersForImport": 0.5},
		Principal: Rates{"rsa": 10, "CreateKey": 0.1}}
	if !reflect.DeepEqual(config.Quotas, want) {
		t.Errorf("the quotas are %+v, want %+v", config.Quotas, want)
	}
	if err := config.check(); err != nil {
		t.Fatal(err)
	}
	services, err := openServices(config.Services)
	if err != nil {
		t.Fatal(err)
	}
	if len(services) != 2 || services[0].Alias != "s3" || services[1].Alias != "ebs" || services[1].Secret != strings.Repeat("s", 40) {
		t.Errorf("the services are %+v", services)
	}
	for _, variable := range []string{"KMS11_QUOTAS_REQUESTS", "KMS11_SERVICES"} {
		if _, err := loadConfig("", environment(map[string]string{variable: "many"})); err == nil {
			t.Errorf("%s: accepted", variable)
		}
	}
	for name, change := range map[string]func(*Config){
		"rates":                func(c *Config) { c.Quotas.Rates = "azure" },
		"negative keys":        func(c *Config) { c.Quotas.Keys = -1 },
		"too many aliases":     func(c *Config) { c.Quotas.Aliases = 1_001 },
		"unknown family":       func(c *Config) { c.Quotas.Requests = Rates{"Encrypt": 1} },
		"negative rate":        func(c *Config) { c.Quotas.Principal = Rates{"rsa": -1} },
		"rate too high":        func(c *Config) { c.Quotas.Principal = Rates{"rsa": 1e9} },
		"no principal":         func(c *Config) { c.Services[0].Principal = "s3" },
		"access key":           func(c *Config) { c.Services[0].AccessKey = "short" },
		"no secret":            func(c *Config) { c.Services[0].SecretFile = "" },
		"account of a service": func(c *Config) { c.Services[0].Accounts = []string{"1"} },
		"alias of a service":   func(c *Config) { c.Services[0].Alias = "a:b" },
		"the same alias twice": func(c *Config) { c.Services[0].Alias = "ebs" },
		"the same service":     func(c *Config) { c.Services[0].Principal = "ec2.amazonaws.com" },
		"the same access key":  func(c *Config) { c.Services[0].AccessKey = c.Services[1].AccessKey },
	} {
		c := config
		c.Services = append([]ServiceConfig(nil), config.Services...)
		change(&c)
		if c.check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	config.Services[0].SecretFile = filepath.Join(t.TempDir(), "none")
	if _, err := openServices(config.Services); err == nil {
		t.Error("a secret that is not there: accepted")
	}
	if err := os.WriteFile(secret, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openServices(config.Services[1:]); err == nil || strings.Contains(err.Error(), "short") {
		t.Errorf("a short secret: %v", err)
	}
}

// TestUnknownSetting: a mistake in a file is told by its line and in the words of the file.
func TestUnknownSetting(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kms11.yaml")
	for text, want := range map[string]string{
		"data: x\nquotass: {keys: 1}\n":    "line 2: there is no setting quotass",
		"xks:\n  lissten: 127.0.0.1:1\n":   "line 2: there is no setting lissten",
		"sessions: many\n":                 "line 1: cannot unmarshal !!str `many` into int",
		"oidc:\n  - {issuer: x, aud: y}\n": "line 2: there is no setting aud",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := loadConfig(file, func(string) (string, bool) { return "", false })
		if err == nil || err.Error() != "config: "+file+": "+want {
			t.Errorf("%q gives %v, want %s", text, err, want)
		}
	}
}
