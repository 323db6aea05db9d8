package kms

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// The public SDK is the independent source of these tests: its operations, its enum values, and
// the requests and responses that it ships as snapshots.

// snapshots gives the JSON bodies of the SDK's request or response snapshots by operation.
func snapshots(t testing.TB, kind string) map[string]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2/service/kms").Output()
	if err != nil {
		t.Fatalf("finding the SDK's module folder: %v (go mod download fetches it)", err)
	}
	paths, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), kind+"_snapshot", "*."+kind+".snap"))
	if err != nil {
		t.Fatal(err)
	}
	bodies := map[string]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, body, _ := strings.Cut(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n\n")
		if kind == "request" { // a request has an empty line after its first line too
			_, body, _ = strings.Cut(body, "\n\n")
		}
		bodies[strings.TrimSuffix(filepath.Base(path), "."+kind+".snap")] = body
	}
	if len(bodies) != len(operations) {
		t.Fatalf("%d %s snapshots for %d operations", len(bodies), kind, len(operations))
	}
	return bodies
}

func TestOperationsAreTheSDKs(t *testing.T) {
	client := reflect.TypeFor[*awskms.Client]()
	var want []string
	for i := range client.NumMethod() {
		m := client.Method(i)
		if m.Type.NumIn() == 4 && m.Type.In(1) == reflect.TypeFor[context.Context]() && m.Type.NumOut() == 2 {
			want = append(want, m.Name)
		}
	}
	var got []string
	for _, op := range Operations() {
		got = append(got, op.Name)
	}
	if !slices.Equal(got, want) || len(got) != 56 {
		t.Errorf("operations\n got %v\nwant %v", got, want)
	}
}

// values turns the SDK's enum values into strings.
func values[T ~string](list []T) []string {
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = string(v)
	}
	return texts
}

func TestEnumsAreTheSDKs(t *testing.T) {
	for name, c := range map[string]struct{ got, want []string }{
		"AlgorithmSpec":             {ruleAlgorithmSpec.values, values(types.AlgorithmSpec("").Values())},
		"CustomKeyStoreType":        {ruleCustomKeyStoreType.values, values(types.CustomKeyStoreType("").Values())},
		"CustomerMasterKeySpec":     {ruleCustomerMasterKeySpec.values, values(types.CustomerMasterKeySpec("").Values())},
		"DataKeyPairSpec":           {ruleDataKeyPairSpec.values, values(types.DataKeyPairSpec("").Values())},
		"DataKeySpec":               {ruleDataKeySpec.values, values(types.DataKeySpec("").Values())},
		"DryRunModifierType":        {ruleDryRunModifierType.values, values(types.DryRunModifierType("").Values())},
		"EncryptionAlgorithmSpec":   {ruleEncryptionAlgorithmSpec.values, values(types.EncryptionAlgorithmSpec("").Values())},
		"ExpirationModelType":       {ruleExpirationModelType.values, values(types.ExpirationModelType("").Values())},
		"GrantOperation":            {ruleGrantOperation.values, values(types.GrantOperation("").Values())},
		"ImportType":                {ruleImportType.values, values(types.ImportType("").Values())},
		"IncludeKeyMaterial":        {ruleIncludeKeyMaterial.values, values(types.IncludeKeyMaterial("").Values())},
		"KeyAgreementAlgorithmSpec": {ruleKeyAgreementAlgorithmSpec.values, values(types.KeyAgreementAlgorithmSpec("").Values())},
		"KeyEncryptionMechanism":    {ruleKeyEncryptionMechanism.values, values(types.KeyEncryptionMechanism("").Values())},
		"KeySpec":                   {ruleKeySpec.values, values(types.KeySpec("").Values())},
		"KeyUsageType":              {ruleKeyUsageType.values, values(types.KeyUsageType("").Values())},
		"MacAlgorithmSpec":          {ruleMacAlgorithmSpec.values, values(types.MacAlgorithmSpec("").Values())},
		"MessageType":               {ruleMessageType.values, values(types.MessageType("").Values())},
		"OriginType":                {ruleOriginType.values, values(types.OriginType("").Values())},
		"SigningAlgorithmSpec":      {ruleSigningAlgorithmSpec.values, values(types.SigningAlgorithmSpec("").Values())},
		"WrappingKeySpec":           {ruleWrappingKeySpec.values, values(types.WrappingKeySpec("").Values())},
		"XksProxyConnectivityType":  {ruleXksProxyConnectivityType.values, values(types.XksProxyConnectivityType("").Values())},
		"KeyState (constants)": {slices.Collect(func(yield func(string) bool) {
			for state := range stateColumns {
				if !yield(string(state)) {
					return
				}
			}
		}), values(types.KeyState("").Values())},
	} {
		got, want := slices.Sorted(slices.Values(c.got)), slices.Sorted(slices.Values(c.want))
		if !slices.Equal(got, want) {
			t.Errorf("%s\n got %v\nwant %v", name, got, want)
		}
	}
	if KeySpecEccNistP256 != KeySpec(types.KeySpecEccNistP256) ||
		SigningAlgorithmSpecRsassaPkcs1V15Sha256 != SigningAlgorithmSpec(types.SigningAlgorithmSpecRsassaPkcs1V15Sha256) {
		t.Error("constants differ from the SDK's")
	}
}
