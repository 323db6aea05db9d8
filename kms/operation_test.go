package kms

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

func names(keep func(Operation) bool) string {
	var list []string
	for _, op := range Operations() {
		if keep(op) {
			list = append(list, op.Name)
		}
	}
	return strings.Join(list, " ")
}

func TestOperationFacts(t *testing.T) {
	for _, c := range []struct {
		what string
		keep func(Operation) bool
		want string
	}{
		{"alias accepted", func(o Operation) bool { return o.KeyIDs == KeyIDAnyForm },
			"Decapsulate Decrypt DeriveSharedSecret DescribeKey Encapsulate Encrypt GenerateDataKey GenerateDataKeyPair " +
				"GenerateDataKeyPairWithoutPlaintext GenerateDataKeyWithoutPlaintext GenerateMac GetPublicKey ReEncrypt Sign Verify VerifyMac"},
		{"no key", func(o Operation) bool { return o.KeyIDs == KeyIDNone },
			"ConnectCustomKeyStore CreateCustomKeyStore CreateKey DeleteAlias DeleteCustomKeyStore DescribeCustomKeyStores " +
				"DisconnectCustomKeyStore GenerateRandom ListKeys ListRetirableGrants UpdateCustomKeyStore"},
		{"grant tokens", func(o Operation) bool { return o.GrantTokens },
			"CreateGrant Decapsulate Decrypt DeriveSharedSecret DescribeKey Encapsulate Encrypt GenerateDataKey GenerateDataKeyPair " +
				"GenerateDataKeyPairWithoutPlaintext GenerateDataKeyWithoutPlaintext GenerateMac GetPublicKey ReEncrypt Sign Verify VerifyMac"},
		{"dry run", func(o Operation) bool { return o.DryRun },
			"CreateGrant Decapsulate Decrypt DeriveSharedSecret Encapsulate Encrypt GenerateDataKey GenerateDataKeyPair " +
				"GenerateDataKeyPairWithoutPlaintext GenerateDataKeyWithoutPlaintext GenerateMac ReEncrypt RetireGrant RevokeGrant Sign Verify VerifyMac"},
		{"paginated", func(o Operation) bool { return o.Paginated != "" },
			"DescribeCustomKeyStores ListAliases ListGrants ListKeyPolicies ListKeyRotations ListKeys ListResourceTags ListRetirableGrants"},
		{"no output", func(o Operation) bool { return !o.HasOutput },
			"CreateAlias DeleteAlias DisableKey DisableKeyRotation EnableKey EnableKeyRotation PutKeyPolicy RetireGrant RevokeGrant " +
				"TagResource UntagResource UpdateAlias UpdateKeyDescription UpdatePrimaryRegion"},
	} {
		if got := names(c.keep); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.what, got, c.want)
		}
	}
	for _, op := range Operations() {
		if op.DryRun != slices.Contains(op.Errors, DryRunOperationException) {
			t.Errorf("%s: DryRun is %v, but its errors are %v", op.Name, op.DryRun, op.Errors)
		}
	}
	if _, ok := OperationByName("encrypt"); ok {
		t.Error("operation names are case-sensitive")
	}
}

func TestStatus(t *testing.T) {
	for code, want := range map[ErrorCode]int{
		DependencyTimeoutException: 500, KMSInternalException: 500, KeyUnavailableException: 500,
		InternalFailure: 500, ServiceUnavailable: 503, RequestEntityTooLargeException: 413,
		NotFoundException: 400, DryRunOperationException: 400, AccessDeniedException: 400, DisabledException: 400,
	} {
		if got := code.Status(); got != want {
			t.Errorf("%s: got %d, want %d", code, got, want)
		}
	}
}

// TestSecretsAreNotPrinted puts a marker into members that are sensitive and formats the
// structures in every way a log might.
func TestSecretsAreNotPrinted(t *testing.T) {
	const marker = "0123456789marker"
	secret := []byte(marker)
	credential := &XksProxyAuthenticationCredentialType{AccessKeyId: marker, RawSecretAccessKey: marker}
	for _, v := range []any{
		EncryptRequest{Plaintext: secret}, &EncryptRequest{Plaintext: secret}, DecryptResponse{Plaintext: secret},
		SignRequest{Message: secret}, GenerateDataKeyResponse{Plaintext: secret}, &GenerateRandomResponse{Plaintext: secret},
		GenerateDataKeyPairResponse{PrivateKeyPlaintext: secret}, DeriveSharedSecretResponse{SharedSecret: secret},
		EncapsulateResponse{SharedSecret: secret}, CreateCustomKeyStoreRequest{KeyStorePassword: marker},
		UpdateCustomKeyStoreRequest{XksProxyAuthenticationCredential: credential}, credential,
		DescribeCustomKeyStoresResponse{CustomKeyStores: []CustomKeyStoresListEntry{{
			XksProxyConfiguration: &XksProxyConfigurationType{AccessKeyId: marker}}}},
	} {
		var text bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&text, verb+"\n", v)
		}
		slog.New(slog.NewJSONHandler(&text, nil)).Info("request", "it", v)
		slog.New(slog.NewTextHandler(&text, nil)).Info("request", "it", v)
		for _, leak := range []string{marker, fmt.Sprintf("%x", marker), fmt.Sprint(secret), "MDEyMzQ1"} {
			if strings.Contains(text.String(), leak) {
				t.Errorf("%T is printed", v)
			}
		}
	}
}
