package integration_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/kms11/kms11/integration/kms11test"
)

// headers adds headers to every request of a client, before it is signed.
func headers(client *kms.Client, values map[string]string) *kms.Client {
	return kms.New(client.Options(), func(o *kms.Options) {
		for name, value := range values {
			o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue(name, value))
		}
	})
}

const (
	serviceAccessKey = "OBJECTSTOREACCESSKEY"
	serviceSecret    = "0123456789012345678901234567890123456789"
	bucket           = "arn:aws:s3:::a-bucket-of-the-account"
)

// withServices starts a server that knows a service, and more settings.
func withServices(t *testing.T, more string) *kms11test.Server {
	t.Helper()
	dir := t.TempDir()
	secret, config := filepath.Join(dir, "secret"), filepath.Join(dir, "kms11.yaml")
	text := "services:\n  - principal: s3.amazonaws.com\n    accesskey: " + serviceAccessKey + "\n    secretfile: " + secret +
		"\n    accounts: [\"" + kms11test.Account + "\"]\n" + more
	for file, content := range map[string]string{secret: serviceSecret + "\n", config: text} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return kms11test.Start(t, "--config", config)
}

// TestService is a service, such as an object store, as it uses an account's keys: the managed one for
// the account's principals, and by a grant for itself.
func TestService(t *testing.T) {
	server := withServices(t, "")
	ctx := t.Context()
	admin := server.Client(t)
	service := server.ClientWith(t, aws.Credentials{AccessKeyID: serviceAccessKey, SecretAccessKey: serviceSecret})
	user := "arn:aws:iam::" + kms11test.Account + ":user/admin"
	forUser := headers(service, map[string]string{"X-Kms11-On-Behalf-Of": user, "X-Amz-Source-Arn": bucket, "X-Amz-Source-Account": kms11test.Account})
	forItself := headers(service, map[string]string{"X-Amz-Source-Arn": bucket, "X-Amz-Source-Account": kms11test.Account})

	alias := aws.String("alias/aws/s3")
	listed := must(admin.ListAliases(ctx, &kms.ListAliasesInput{}))(t).Aliases
	if len(listed) != 1 || *listed[0].AliasName != *alias || listed[0].TargetKeyId != nil {
		t.Errorf("before the first use ListAliases gives %+v", listed)
	}
	made := must(forUser.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: alias, KeySpec: types.DataKeySpecAes256}))(t)
	key := describe(t, admin, *alias)
	if key.KeyManager != types.KeyManagerTypeAws || *key.Arn != *made.KeyId {
		t.Errorf("the key is %+v", key)
	}
	// The trail says through whom the request came, and finds it under either name.
	for _, principal := range []string{"s3.amazonaws.com", "admin"} {
		records, code := kms11test.Command(t, "audit", "query", "--data", server.Dir, "--principal", principal, "--operation", "GenerateDataKey")
		if code != 0 || !strings.Contains(records, `"arn":"`+user+`"`) || !strings.Contains(records, `"invokedBy":"s3.amazonaws.com"`) {
			t.Errorf("exit code %d, records of %s: %s", code, principal, records)
		}
	}
	rotation := must(admin.GetKeyRotationStatus(ctx, &kms.GetKeyRotationStatusInput{KeyId: key.KeyId}))(t)
	if !rotation.KeyRotationEnabled || aws.ToInt32(rotation.RotationPeriodInDays) != 365 {
		t.Errorf("its rotation is %+v", rotation)
	}
	refused := func(err error, action string) {
		t.Helper()
		wantCode(t, err, "AccessDeniedException", "User: "+user+" is not authorized to perform: kms:"+action+" on resource: "+*key.Arn+
			" because no resource-based policy allows the kms:"+action+" action")
	}
	_, err := admin.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: made.CiphertextBlob})
	refused(err, "Decrypt")
	_, err = admin.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: key.KeyId})
	refused(err, "ScheduleKeyDeletion")
	_, err = forUser.DisableKey(ctx, &kms.DisableKeyInput{KeyId: key.KeyId})
	refused(err, "DisableKey")
	server.Kill(t)
	server.Restart(t)
	opened := must(forUser.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: made.CiphertextBlob}))(t)
	if string(opened.Plaintext) != string(made.Plaintext) {
		t.Error("the data key opens as another")
	}

	own := createKey(t, admin)
	sealed := must(admin.Encrypt(ctx, &kms.EncryptInput{KeyId: own.KeyId, Plaintext: []byte("x")}))(t).CiphertextBlob
	_, err = forItself.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed, KeyId: own.Arn})
	wantCode(t, err, "AccessDeniedException", "User: s3.amazonaws.com is not authorized to perform: kms:Decrypt")
	grant := must(admin.CreateGrant(ctx, &kms.CreateGrantInput{KeyId: own.KeyId, GranteeServicePrincipal: aws.String("s3.amazonaws.com"),
		RetiringServicePrincipal: aws.String("s3.amazonaws.com"), Operations: []types.GrantOperation{types.GrantOperationDecrypt},
		Constraints: &types.GrantConstraints{SourceArn: aws.String(bucket)}}))(t)
	must(forItself.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed, KeyId: own.Arn}))(t)
	elsewhere := headers(service, map[string]string{"X-Amz-Source-Arn": bucket + "2", "X-Amz-Source-Account": kms11test.Account})
	_, err = elsewhere.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed, KeyId: own.Arn})
	wantCode(t, err, "AccessDeniedException", "s3.amazonaws.com is not authorized")
	must(forItself.RetireGrant(ctx, &kms.RetireGrantInput{KeyId: own.Arn, GrantId: grant.GrantId}))(t)

	// The headers count when the service's signature covers them, and only the service's.
	unsigned := kms.New(service.Options(), func(o *kms.Options) {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			return stack.Finalize.Add(middleware.FinalizeMiddlewareFunc("afterSigning", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
				request := in.Request.(*smithyhttp.Request)
				request.Header.Set("X-Kms11-On-Behalf-Of", user)
				return next.HandleFinalize(ctx, in)
			}), middleware.After)
		})
	})
	_, err = unsigned.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: alias})
	wantCode(t, err, "IncompleteSignatureException", "X-Kms11-On-Behalf-Of")
	_, err = service.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: alias})
	wantCode(t, err, "AccessDeniedException", "s3.amazonaws.com may not act for the account")
	stranger := headers(service, map[string]string{"X-Kms11-On-Behalf-Of": "arn:aws:iam::444455556666:root"})
	_, err = stranger.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: alias})
	wantCode(t, err, "AccessDeniedException", "s3.amazonaws.com may not act for arn:aws:iam::444455556666:root.")
	claiming := headers(admin, map[string]string{"X-Kms11-On-Behalf-Of": "arn:aws:iam::444455556666:root", "X-Amz-Source-Account": "444455556666"})
	if m := describe(t, claiming, *alias); *m.Arn != *key.Arn {
		t.Errorf("a user who claims to act for others sees %s", *m.Arn)
	}
	if log := server.Log(t); strings.Contains(log, serviceSecret) {
		t.Error("the secret is in the log")
	}
}

// TestQuotas: rates and the number of keys, as the SDK sees them, across a restart.
func TestQuotas(t *testing.T) {
	server := withServices(t, "quotas:\n  keys: 2\n  requests: {GetParametersForImport: 0.01}\n")
	ctx := t.Context()
	client := server.Client(t)
	createKey(t, client)
	external := must(client.CreateKey(ctx, &kms.CreateKeyInput{Origin: types.OriginTypeExternal}))(t).KeyMetadata
	const full = "Key quota for this account in this region is 2 but the current usage is 2."
	_, err := client.CreateKey(ctx, &kms.CreateKeyInput{})
	wantError[*types.LimitExceededException](t, err, full)
	server.Kill(t)
	server.Restart(t)
	client = server.Client(t)
	_, err = client.CreateKey(ctx, &kms.CreateKeyInput{})
	wantError[*types.LimitExceededException](t, err, full)

	parameters := &kms.GetParametersForImportInput{KeyId: external.KeyId, WrappingAlgorithm: types.AlgorithmSpecRsaesOaepSha256, WrappingKeySpec: types.WrappingKeySpecRsa2048}
	must(client.GetParametersForImport(ctx, parameters))(t)
	_, err = client.GetParametersForImport(ctx, parameters)
	wantCode(t, err, "ThrottlingException", "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.")
	describe(t, client, *external.KeyId)
}
