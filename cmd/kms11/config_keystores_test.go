package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/kms11/kms11/xks"
)

const aCluster = "cluster-aaaaaaaaaaa"

func TestConfigKeyStores(t *testing.T) {
	config, err := loadConfig(writeConfig(t, "keystores:\n  clusters:\n    - {id: "+aCluster+", token: 'pkcs11:token=a?module-path=/m.so', trustanchor: a.pem}\n  external: {ports: true, budget: 100, networks: [10.0.0.0/8, '::1']}\n"), environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	want := KeyStoresConfig{
		Clusters: []ClusterConfig{{aCluster, "pkcs11:token=a?module-path=/m.so", "a.pem"}},
		External: ExternalConfig{Ports: true, Budget: 100, Networks: []string{"10.0.0.0/8", "::1"}},
	}
	if !reflect.DeepEqual(config.KeyStores, want) || config.check() != nil {
		t.Errorf("got %+v, %v", config.KeyStores, config.check())
	}
	config, err = loadConfig("", environment(map[string]string{
		"KMS11_KEYSTORES_CLUSTERS": "[{id: " + aCluster + ", token: 'pkcs11:token=b?module-path=/m.so'}]", "KMS11_KEYSTORES_EXTERNAL_INFLIGHT": "7",
	}))
	if err != nil || len(config.KeyStores.Clusters) != 1 || config.KeyStores.External.InFlight != 7 {
		t.Errorf("from the environment: %+v, %v", config.KeyStores, err)
	}
	if _, err := loadConfig("", environment(map[string]string{"KMS11_KEYSTORES_CLUSTERS": "many"})); err == nil || !strings.Contains(err.Error(), "KMS11_KEYSTORES_CLUSTERS") {
		t.Errorf("an environment that is no list: %v", err)
	}
	for name, change := range map[string]func(*KeyStoresConfig){
		"no id":         func(c *KeyStoresConfig) { c.Clusters[0].ID = "" },
		"another's id":  func(c *KeyStoresConfig) { c.Clusters[0].ID = "cluster-1" },
		"no token":      func(c *KeyStoresConfig) { c.Clusters[0].Token = "" },
		"no library":    func(c *KeyStoresConfig) { c.Clusters[0].Token = "pkcs11:token=a" },
		"a PIN":         func(c *KeyStoresConfig) { c.Clusters[0].Token += "&pin-value=1234" },
		"a PIN's place": func(c *KeyStoresConfig) { c.Clusters[0].Token += "&pin-source=file:/pin" },
		"an id twice": func(c *KeyStoresConfig) {
			c.Clusters = append(c.Clusters, ClusterConfig{ID: aCluster, Token: "pkcs11:token=b?module-path=/m.so"})
		},
		"a token twice": func(c *KeyStoresConfig) {
			c.Clusters = append(c.Clusters, ClusterConfig{ID: aCluster + "b", Token: c.Clusters[0].Token})
		},
		"half a pair":    func(c *KeyStoresConfig) { c.External.Key = "k" },
		"a minute":       func(c *KeyStoresConfig) { c.External.Budget = 60_001 },
		"no network":     func(c *KeyStoresConfig) { c.External.Networks = []string{"localhost"} },
		"a zone":         func(c *KeyStoresConfig) { c.External.Networks = []string{"fe80::1%eth0"} },
		"less than none": func(c *KeyStoresConfig) { c.External.InFlight = -1 },
	} {
		c := KeyStoresConfig{Clusters: []ClusterConfig{{aCluster, "pkcs11:token=a?module-path=/m.so", ""}}}
		if err := c.check(); err != nil {
			t.Fatal(err)
		}
		change(&c)
		if err := c.check(); err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), "1234") {
			t.Errorf("%s: the error shows the PIN", name)
		}
	}
}

func TestOpenKeyStores(t *testing.T) {
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]KeyStoresConfig{
		"no anchor":       {Clusters: []ClusterConfig{{aCluster, "pkcs11:token=a?module-path=/m.so", "/no/such"}}},
		"a bad anchor":    {Clusters: []ClusterConfig{{aCluster, "pkcs11:token=a?module-path=/m.so", garbage}}},
		"no roots":        {External: ExternalConfig{CA: "/no/such"}},
		"bad roots":       {External: ExternalConfig{CA: garbage}},
		"bad certificate": {External: ExternalConfig{Certificate: garbage, Key: garbage}},
	} {
		config := defaultConfig()
		config.KeyStores = c
		if err := (&backend{}).openKeyStores(config, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	b, config := &backend{}, defaultConfig()
	config.KeyStores = KeyStoresConfig{Clusters: []ClusterConfig{{aCluster, "pkcs11:token=a?module-path=/m.so", ""}}, External: ExternalConfig{Ports: true, InFlight: 3, Networks: []string{"10.1.2.3/8", "::1"}}}
	if err := b.openKeyStores(config, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	stores, ok := b.proxies.(*xks.Stores)
	if !ok || !stores.AllowPorts() || stores.InFlight != 3 || fmt.Sprint(stores.Networks) != "[10.0.0.0/8 ::1/128]" || len(b.clusters) != 1 || b.clusters[0].Token.URI.Token != "a" {
		t.Errorf("got %+v and %d clusters", b.proxies, len(b.clusters))
	}
}
