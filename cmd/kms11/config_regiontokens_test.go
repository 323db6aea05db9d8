package main

import (
	"reflect"
	"strings"
	"testing"
)

func TestRegionTokens(t *testing.T) {
	const one, two = "pkcs11:token=a?module-path=/m.so&pin-source=env:P", "pkcs11:token=b?module-path=/m.so&pin-source=env:P"
	file := writeConfig(t, "regions: [eu-west-1]\nregiontokens:\n  eu-west-1: ['"+one+"', '"+two+"']\n")
	config, err := loadConfig(file, environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := config.check(); err != nil || !reflect.DeepEqual(config.RegionTokens, RegionTokens{"eu-west-1": {one, two}}) {
		t.Errorf("%v, %v", config.RegionTokens, err)
	}
	config, err = loadConfig(file, environment(map[string]string{"KMS11_REGIONTOKENS": "us-west-2=" + one + "  eu-west-1=" + two + " us-west-2=" + two}))
	if err != nil || !reflect.DeepEqual(config.RegionTokens, RegionTokens{"eu-west-1": {two}, "us-west-2": {one, two}}) {
		t.Errorf("from the environment: %v, %v", config.RegionTokens, err)
	}
	if _, err := loadConfig("", environment(map[string]string{"KMS11_REGIONTOKENS": "pkcs11:token"})); err == nil || !strings.Contains(err.Error(), "KMS11_REGIONTOKENS") {
		t.Errorf("an entry without a Region: %v", err)
	}
	for name, tokens := range map[string]RegionTokens{
		"no Region":         {"Europe": {one}},
		"another partition": {"cn-north-1": {one}},
		"no token":          {"eu-west-1": nil},
		"not a URI":         {"eu-west-1": {"http://token"}},
	} {
		c := defaultConfig()
		if c.RegionTokens = tokens; c.check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
