package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestGeneratedFilesAreCurrent fails when model.json, overrides.json or the generator changed and
// the generated files did not.
func TestGeneratedFilesAreCurrent(t *testing.T) {
	files, err := generate(".")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the generator writes: run go generate ./kms", name)
		}
	}
	present, err := filepath.Glob(filepath.Join("..", "*_gen*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range present {
		if _, ok := files[filepath.Base(path)]; !ok {
			t.Errorf("%s has the name of a generated file, but the generator does not write it", path)
		}
	}
}

func TestOverridesMustNameTheModel(t *testing.T) {
	m, err := loadModel(".")
	if err != nil {
		t.Fatal(err)
	}
	for name, broken := range map[string]overrides{
		"structure": {Required: []string{"NoSuchRequest.KeyId"}},
		"member":    {AlwaysEmitted: []string{"KeyMetadata.NoSuchMember"}},
		"range":     {Ranges: map[string]bounds{"ListKeysRequest.NoSuchMember": {1, 2}}},
		"after":     {MemberAfter: map[string]string{"KeyMetadata.KeyId": "NoSuchMember"}},
		"operation": {CrossAccount: []string{"NoSuchOperation"}},
	} {
		m.overrides = broken
		if m.checkOverrides() == nil {
			t.Errorf("%s: an override of something that is not in the model was accepted", name)
		}
	}
}

func TestRE2(t *testing.T) {
	for java, want := range map[string]string{
		`[\w]+`:               `\A(?:[\w]+)\z`,
		`[\u0020-\u00FF]*`:    `\A(?:[\x{0020}-\x{00FF}]*)\z`,
		`^[a-z/_\s.-]+$`:      `\A(?:^[a-z/_\s\v.-]+$)\z`,
		`^(/a\d{1,2})$|^(b)$`: `\A(?:^(/a\d{1,2})$|^(b)$)\z`,
	} {
		if got := re2(java); got != want {
			t.Errorf("re2(%s) = %s, want %s", java, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	for value, want := range map[string]string{
		"RSA_2048":                  "Rsa2048",
		"RSASSA_PKCS1_V1_5_SHA_256": "RsassaPkcs1V15Sha256",
		"SYMMETRIC_DEFAULT":         "SymmetricDefault",
		"PendingDeletion":           "PendingDeletion",
	} {
		if got := camel(value); got != want {
			t.Errorf("camel(%s) = %s, want %s", value, got, want)
		}
	}
}
