package integration_test

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

// TestKeysDoNotServeOtherUsages tries every cryptographic operation on a key of every usage.
func TestKeysDoNotServeOtherUsages(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	keys := newKeySet(t, client)
	for _, c := range newCryptoCalls(t, client, keys) {
		for usage, key := range keys {
			t.Run(fmt.Sprint(c.operation, " by a key for ", usage), func(t *testing.T) {
				got, err := c.call(key.KeyId, false)
				switch {
				case usage == c.usage:
					if err != nil || got != *key.Arn {
						t.Errorf("it gave %q, %v", got, err)
					}
				case c.operation == "Decrypt":
					wantError[*types.IncorrectKeyException](t, err, incorrectKey)
				default:
					wantError[*types.InvalidKeyUsageException](t, err, fmt.Sprintf("%s key usage is %s which is not valid for %s.", *key.Arn, usage, c.operation))
				}
			})
		}
	}
}

// TestKeyStates tries every cryptographic operation in every state, in earnest and as a dry run:
// whatever refuses the one refuses the other.
func TestKeyStates(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	ctx := t.Context()
	keys := newKeySet(t, client)
	calls := newCryptoCalls(t, client, keys)
	inEveryCall := func(state string, check func(t *testing.T, key *types.KeyMetadata, dry bool, err error)) {
		for _, c := range calls {
			for _, dry := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s %s, dry run %v", state, c.operation, dry), func(t *testing.T) {
					_, err := c.call(keys[c.usage].KeyId, dry)
					check(t, keys[c.usage], dry, err)
				})
			}
		}
	}
	forEachKey := func(do func(id *string) error) {
		t.Helper()
		for _, key := range keys {
			if err := do(key.KeyId); err != nil {
				t.Fatal(err)
			}
		}
	}
	works := func(t *testing.T, _ *types.KeyMetadata, dry bool, err error) {
		if dry {
			wantError[*types.DryRunOperationException](t, err, "The request would have succeeded, but the DryRun option is set.")
		} else if err != nil {
			t.Error(err)
		}
	}
	disabled := func(t *testing.T, key *types.KeyMetadata, _ bool, err error) {
		wantError[*types.DisabledException](t, err, *key.Arn+" is disabled.")
	}
	pending := func(t *testing.T, key *types.KeyMetadata, _ bool, err error) {
		wantError[*types.KMSInvalidStateException](t, err, *key.Arn+" is pending deletion.")
	}
	publicKeys := func() (errs []error) {
		for _, usage := range []types.KeyUsageType{types.KeyUsageTypeSignVerify, types.KeyUsageTypeKeyAgreement} {
			_, err := client.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: keys[usage].KeyId})
			errs = append(errs, err)
		}
		return errs
	}

	inEveryCall("enabled", works)
	forEachKey(func(id *string) error { _, err := client.DisableKey(ctx, &kms.DisableKeyInput{KeyId: id}); return err })
	inEveryCall("disabled", disabled)
	for _, err := range publicKeys() { // which need no key material
		if err != nil {
			t.Errorf("GetPublicKey of a disabled key: %v", err)
		}
	}
	forEachKey(func(id *string) error { _, err := client.EnableKey(ctx, &kms.EnableKeyInput{KeyId: id}); return err })
	inEveryCall("enabled again", works)
	forEachKey(func(id *string) error {
		_, err := client.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: aws.Int32(7)})
		return err
	})
	inEveryCall("pending deletion", pending)
	for i, err := range publicKeys() {
		key := keys[[]types.KeyUsageType{types.KeyUsageTypeSignVerify, types.KeyUsageTypeKeyAgreement}[i]]
		wantError[*types.KMSInvalidStateException](t, err, *key.Arn+" is pending deletion.")
	}
	forEachKey(func(id *string) error {
		_, err := client.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: id})
		return err
	})
	inEveryCall("deletion cancelled", disabled)
	forEachKey(func(id *string) error { _, err := client.EnableKey(ctx, &kms.EnableKeyInput{KeyId: id}); return err })
	inEveryCall("enabled at last", works)
}
