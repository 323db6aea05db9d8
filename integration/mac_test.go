package integration_test

import (
	"bytes"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

// TestMACs makes MACs with every spec. Nobody outside has the key, so what can be seen is their
// length, that they are the same for the same message, and that only they verify.
func TestMACs(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	ctx := t.Context()
	for spec, length := range map[types.KeySpec]int{
		types.KeySpecHmac224: 28, types.KeySpecHmac256: 32, types.KeySpecHmac384: 48, types.KeySpecHmac512: 64,
	} {
		t.Run(string(spec), func(t *testing.T) {
			key := newKey(t, client, spec, types.KeyUsageTypeGenerateVerifyMac)
			other := newKey(t, client, spec, types.KeyUsageTypeGenerateVerifyMac)
			algorithm := key.MacAlgorithms[0]
			generate := func(id *string, message []byte) []byte {
				t.Helper()
				out := must(client.GenerateMac(ctx, &kms.GenerateMacInput{KeyId: id, MacAlgorithm: algorithm, Message: message}))(t)
				if out.MacAlgorithm != algorithm || len(out.Mac) != length {
					t.Errorf("a %s of %d bytes", out.MacAlgorithm, len(out.Mac))
				}
				return out.Mac
			}
			verify := func(id *string, message, mac []byte) error {
				out, err := client.VerifyMac(ctx, &kms.VerifyMacInput{KeyId: id, MacAlgorithm: algorithm, Message: message, Mac: mac})
				if err == nil && (!out.MacValid || *out.KeyId != *key.Arn || out.MacAlgorithm != algorithm) {
					t.Errorf("VerifyMac gave %v for %s by %s", out.MacValid, *out.KeyId, out.MacAlgorithm)
				}
				return err
			}
			for _, size := range []int{1, 64, 4096} {
				message := bytes.Repeat([]byte("m"), size)
				mac := generate(key.KeyId, message)
				if !bytes.Equal(generate(key.Arn, message), mac) || bytes.Equal(generate(other.KeyId, message), mac) {
					t.Errorf("%d bytes: the MAC does not depend on key and message alone", size)
				}
				if err := verify(key.KeyId, message, mac); err != nil {
					t.Error(err)
				}
				for i := range mac {
					damaged := bytes.Clone(mac)
					damaged[i] ^= 1 << (i % 8)
					wantError[*types.KMSInvalidMacException](t, verify(key.KeyId, message, damaged), "")
				}
				for _, wrong := range [][]byte{mac[:length-1], mac[:1], append(bytes.Clone(mac), 0), bytes.Repeat(mac, 2)} {
					wantError[*types.KMSInvalidMacException](t, verify(key.KeyId, message, wrong), "")
				}
				wantError[*types.KMSInvalidMacException](t, verify(key.KeyId, append(message[:size-1:size-1], 'n'), mac), "")
				wantError[*types.KMSInvalidMacException](t, verify(other.KeyId, message, mac), "")
			}
		})
	}
}

func TestBadMACRequests(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	key := newKey(t, client, types.KeySpecHmac224, types.KeyUsageTypeGenerateVerifyMac)
	for name, c := range map[string]struct {
		id        *string
		algorithm types.MacAlgorithmSpec
		size      int
		code      string
		message   string
	}{
		"another spec's hash": {key.KeyId, types.MacAlgorithmSpecHmacSha256, 1, "InvalidKeyUsageException", "Algorithm HMAC_SHA_256 is incompatible with key spec HMAC_224."},
		"no algorithm":        {key.KeyId, "INVALID", 1, "ValidationException", "Value 'INVALID' at 'macAlgorithm' failed to satisfy constraint: Member must satisfy enum value set: ["},
		"no key":              {aws.String("key_id"), types.MacAlgorithmSpecHmacSha224, 1, "NotFoundException", "Invalid keyId 'key_id'"},
		"nothing":             {key.KeyId, types.MacAlgorithmSpecHmacSha224, 0, "ValidationException", "at 'message' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		"4097 bytes":          {key.KeyId, types.MacAlgorithmSpecHmacSha224, 4097, "ValidationException", "at 'message' failed to satisfy constraint: Member must have length less than or equal to 4096"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := client.GenerateMac(t.Context(), &kms.GenerateMacInput{KeyId: c.id, MacAlgorithm: c.algorithm, Message: make([]byte, c.size)})
			wantCode(t, err, c.code, c.message)
			_, err = client.VerifyMac(t.Context(), &kms.VerifyMacInput{KeyId: c.id, MacAlgorithm: c.algorithm, Message: make([]byte, c.size), Mac: make([]byte, 28)})
			wantCode(t, err, c.code, c.message)
		})
	}
}
