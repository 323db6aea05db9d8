package integration_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

const aliasARNPrefix = "arn:aws:kms:" + kms11test.Region + ":" + kms11test.Account + ":"

func createAlias(t testing.TB, client *kms.Client, name string, target *string) {
	t.Helper()
	must(client.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: &name, TargetKeyId: target}))(t)
}

// TestKeyIDForms names keys in every form that AWS takes, for every operation that takes all four.
func TestKeyIDForms(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	keys := newKeySet(t, client)
	calls := newCryptoCalls(t, client, keys)
	for usage, key := range keys {
		alias := "alias/of/" + string(usage)
		createAlias(t, client, alias, key.Arn)
		for _, c := range calls {
			if c.usage != usage {
				continue
			}
			for _, form := range []string{*key.KeyId, *key.Arn, alias, aliasARNPrefix + alias} {
				got, err := c.call(&form, false)
				if err != nil || got != *key.Arn {
					t.Errorf("%s with the KeyId %s gave %q, %v", c.operation, form, got, err)
				}
			}
		}
		for _, form := range []string{alias, aliasARNPrefix + alias} {
			if found := describe(t, client, form); *found.Arn != *key.Arn {
				t.Errorf("DescribeKey of %s gave %s", form, *found.Arn)
			}
			// Management takes no alias.
			_, err := client.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &form})
			wantError[*types.NotFoundException](t, err, "Invalid keyId "+form)
		}
	}
	for form, message := range map[string]string{
		"alias/unknown":                  "Alias " + aliasARNPrefix + "alias/unknown is not found.",
		aliasARNPrefix + "alias/unknown": "Alias " + aliasARNPrefix + "alias/unknown is not found.",
		"arn:aws:kms:eu-west-1:" + kms11test.Account + ":alias/unknown": "Invalid arn eu-west-1",
	} {
		for _, c := range calls {
			_, err := c.call(&form, false)
			wantError[*types.NotFoundException](t, err, message)
		}
	}
}

func TestAliasesMove(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	ctx := t.Context()
	one, two := createKey(t, client), createKey(t, client)
	const name = "alias/app/current"
	createAlias(t, client, name, one.KeyId)
	sealed := must(client.Encrypt(ctx, &kms.EncryptInput{KeyId: aws.String(name), Plaintext: []byte("x")}))(t)

	must(client.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: aws.String(name), TargetKeyId: two.KeyId}))(t)
	moved := must(client.Encrypt(ctx, &kms.EncryptInput{KeyId: aws.String(name), Plaintext: []byte("x")}))(t)
	if *sealed.KeyId != *one.Arn || *moved.KeyId != *two.Arn {
		t.Errorf("the alias stood for %s, then for %s", *sealed.KeyId, *moved.KeyId)
	}
	_, err := client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob, KeyId: aws.String(name)})
	wantError[*types.IncorrectKeyException](t, err, incorrectKey)
	must(client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob}))(t)

	signs := newKey(t, client, types.KeySpecEccNistP256, types.KeyUsageTypeSignVerify)
	_, err = client.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: aws.String(name), TargetKeyId: signs.KeyId})
	wantCode(t, err, "ValidationException", "")

	must(client.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: aws.String(name)}))(t)
	gone := "Alias " + aliasARNPrefix + name + " is not found."
	for _, call := range []func() error{
		func() error {
			_, err := client.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String(name)})
			return err
		},
		func() error {
			_, err := client.DeleteAlias(ctx, &kms.DeleteAliasInput{AliasName: aws.String(name)})
			return err
		},
		func() error {
			_, err := client.UpdateAlias(ctx, &kms.UpdateAliasInput{AliasName: aws.String(name), TargetKeyId: one.KeyId})
			return err
		},
	} {
		wantError[*types.NotFoundException](t, call(), gone)
	}
	createAlias(t, client, name, one.KeyId) // the name is free again
}

func TestBadAliases(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	key := createKey(t, client)
	createAlias(t, client, "alias/taken", key.KeyId)
	const noPrefix = `Alias must start with the prefix "alias/". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html`
	for _, c := range []struct{ name, target, code, message string }{
		{"alias/taken", *key.KeyId, "AlreadyExistsException", "An alias with the name " + aliasARNPrefix + "alias/taken already exists"},
		{"taken", *key.KeyId, "ValidationException", noPrefix},
		{"ALIAS/taken", *key.KeyId, "ValidationException", noPrefix},
		{"alias/aws/s3", *key.KeyId, "NotAuthorizedException", ""},
		{"alias/with:colon", *key.KeyId, "ValidationException", "alias/with:colon contains invalid characters for an alias"},
		{"alias/with space", *key.KeyId, "ValidationException", "Value 'alias/with space' at 'aliasName' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$"},
		{"alias/new", "alias/taken", "ValidationException", "Aliases must refer to keys. Not aliases"},
		{"alias/new", unknownKey, "NotFoundException", "Key '" + arnPrefix + unknownKey + "' does not exist"},
		{"alias/new", "no-key", "NotFoundException", "Invalid keyId 'no-key'"},
	} {
		_, err := client.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: &c.name, TargetKeyId: &c.target})
		wantCode(t, err, c.code, c.message)
	}
	_, err := client.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: aws.String("alias/taken"), TargetKeyId: key.KeyId})
	wantError[*types.AlreadyExistsException](t, err, "An alias with the name "+aliasARNPrefix+"alias/taken already exists")
}

// TestListAliases fills a key up to AWS's quota and lists page by page.
func TestListAliases(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	ctx := t.Context()
	full, other := createKey(t, client), createKey(t, client)
	var ofFull []string
	for i := range 50 {
		ofFull = append(ofFull, fmt.Sprintf("alias/full-%02d", i))
		createAlias(t, client, ofFull[i], full.KeyId)
	}
	_, err := client.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/one-too-many"), TargetKeyId: full.KeyId})
	var limit *types.LimitExceededException
	wantCode(t, err, limit.ErrorCode(), "")
	createAlias(t, client, "alias/other", other.KeyId)

	for name, c := range map[string]struct {
		filter *string
		want   []string
	}{
		"all":        {nil, append(slices.Clone(ofFull), "alias/other")},
		"of a key":   {full.KeyId, ofFull},
		"of another": {other.Arn, []string{"alias/other"}},
	} {
		for _, limit := range []int32{7, 100} {
			t.Run(fmt.Sprint(name, " by ", limit), func(t *testing.T) {
				var got []string
				pages := kms.NewListAliasesPaginator(client, &kms.ListAliasesInput{KeyId: c.filter, Limit: aws.Int32(limit)})
				for pages.HasMorePages() {
					page := must(pages.NextPage(ctx))(t)
					if len(page.Aliases) > int(limit) || page.Truncated != (page.NextMarker != nil) {
						t.Errorf("a page of %d, truncated %v", len(page.Aliases), page.Truncated)
					}
					for _, entry := range page.Aliases {
						target := full
						if *entry.AliasName == "alias/other" {
							target = other
						}
						if *entry.TargetKeyId != *target.KeyId || *entry.AliasArn != aliasARNPrefix+*entry.AliasName || entry.CreationDate.IsZero() || entry.LastUpdatedDate.Before(*entry.CreationDate) {
							t.Errorf("%s is %s of %s", *entry.AliasName, *entry.AliasArn, *entry.TargetKeyId)
						}
						got = append(got, *entry.AliasName)
					}
				}
				if slices.Sort(got); !slices.Equal(got, c.want) {
					t.Errorf("listed %q", got)
				}
			})
		}
	}
	_, err = client.ListAliases(ctx, &kms.ListAliasesInput{Limit: aws.Int32(101)})
	wantCode(t, err, "ValidationException", "Value '101' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 100")
	_, err = client.ListAliases(ctx, &kms.ListAliasesInput{KeyId: aws.String("alias/other")})
	wantError[*types.NotFoundException](t, err, "Invalid keyId alias/other")
}
