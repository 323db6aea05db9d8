package clients_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/kms11/kms11/integration/kms11test"
)

// TestCLIManagement has the CLI manage aliases, tags, key policies and deletion.
func TestCLIManagement(t *testing.T) {
	aws := newCLI(t, kms11test.Start(t))
	var made metadata
	aws.ask(t, &made, "create-key", "--tags", "TagKey=team,TagValue=red")
	one := made.KeyMetadata
	aws.ask(t, &made, "create-key")
	two := made.KeyMetadata

	prefix, _, _ := strings.Cut(one.Arn, ":key/")
	aws.ask(t, nil, "create-alias", "--alias-name", "alias/cli/app", "--target-key-id", one.KeyId)
	var sealed struct{ CiphertextBlob, KeyId string }
	for _, form := range []string{"alias/cli/app", prefix + ":alias/cli/app"} {
		aws.ask(t, &sealed, "encrypt", "--key-id", form, "--plaintext", "by alias")
		if sealed.KeyId != one.Arn {
			t.Errorf("encrypt by %s gave the key %s", form, sealed.KeyId)
		}
	}
	aws.ask(t, nil, "update-alias", "--alias-name", "alias/cli/app", "--target-key-id", two.Arn)
	var found metadata
	if aws.ask(t, &found, "describe-key", "--key-id", "alias/cli/app"); found.KeyMetadata.Arn != two.Arn {
		t.Errorf("the alias stands for %s", found.KeyMetadata.Arn)
	}
	aws.refused(t, "(IncorrectKeyException)", "decrypt", "--key-id", "alias/cli/app", "--ciphertext-blob", aws.write(t, "sealed", decode(t, sealed.CiphertextBlob)))
	aws.refused(t, "An error occurred (AlreadyExistsException) when calling the CreateAlias operation: An alias with the name "+prefix+":alias/cli/app already exists",
		"create-alias", "--alias-name", "alias/cli/app", "--target-key-id", one.KeyId)
	aws.ask(t, nil, "create-alias", "--alias-name", "alias/cli/other", "--target-key-id", one.KeyId)
	var aliases struct {
		Aliases []struct{ AliasName, AliasArn, TargetKeyId string }
	}
	aws.ask(t, &aliases, "list-aliases", "--page-size", "1")
	want := fmt.Sprint([]struct{ AliasName, AliasArn, TargetKeyId string }{
		{"alias/cli/app", prefix + ":alias/cli/app", two.KeyId}, {"alias/cli/other", prefix + ":alias/cli/other", one.KeyId},
	})
	if got := fmt.Sprint(aliases.Aliases); got != want {
		t.Errorf("list-aliases gave %s", got)
	}
	aws.ask(t, nil, "delete-alias", "--alias-name", "alias/cli/app")
	aws.refused(t, "(NotFoundException) when calling the DescribeKey operation: Alias "+prefix+":alias/cli/app is not found.",
		"describe-key", "--key-id", "alias/cli/app")

	aws.ask(t, nil, "tag-resource", "--key-id", one.KeyId, "--tags", "TagKey=team,TagValue=blue", "TagKey=étage,TagValue=3")
	var tags struct {
		Tags []struct{ TagKey, TagValue string }
	}
	if aws.ask(t, &tags, "list-resource-tags", "--key-id", one.KeyId); fmt.Sprint(tags.Tags) != "[{team blue} {étage 3}]" {
		t.Errorf("list-resource-tags gave %v", tags.Tags)
	}
	aws.ask(t, nil, "untag-resource", "--key-id", one.Arn, "--tag-keys", "team")
	if aws.ask(t, &tags, "list-resource-tags", "--key-id", one.KeyId); fmt.Sprint(tags.Tags) != "[{étage 3}]" {
		t.Errorf("list-resource-tags gave %v", tags.Tags)
	}
	aws.refused(t, "(TagException) when calling the TagResource operation: Duplicate tag keys",
		"tag-resource", "--key-id", one.KeyId, "--tags", "TagKey=a,TagValue=1", "TagKey=a,TagValue=2")

	var names struct{ PolicyNames []string }
	if aws.ask(t, &names, "list-key-policies", "--key-id", two.KeyId); fmt.Sprint(names.PolicyNames) != "[default]" {
		t.Errorf("list-key-policies gave %q", names.PolicyNames)
	}
	var policy struct{ Policy string }
	aws.ask(t, &policy, "get-key-policy", "--key-id", two.KeyId, "--policy-name", "default")
	var document struct {
		Version   string
		Statement []map[string]any
	}
	if err := json.Unmarshal([]byte(policy.Policy), &document); err != nil || len(document.Statement) != 1 {
		t.Fatalf("the default policy is %q, %v", policy.Policy, err)
	}
	document.Statement = append(document.Statement, map[string]any{"Effect": "Deny", "Principal": "*", "Action": "kms:Encrypt", "Resource": "*"})
	denies, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	aws.ask(t, nil, "put-key-policy", "--key-id", two.KeyId, "--policy-name", "default", "--policy", string(denies))
	aws.refused(t, "(AccessDeniedException)", "encrypt", "--key-id", two.KeyId, "--plaintext", "x")
	aws.ask(t, nil, "put-key-policy", "--key-id", two.KeyId, "--policy-name", "default", "--policy", policy.Policy)
	aws.ask(t, nil, "encrypt", "--key-id", two.KeyId, "--plaintext", "x")
	aws.refused(t, "(MalformedPolicyDocumentException)", "put-key-policy", "--key-id", two.KeyId, "--policy-name", "default", "--policy", "{}")

	var scheduled struct {
		KeyId, KeyState     string
		DeletionDate        float64
		PendingWindowInDays int
	}
	aws.ask(t, &scheduled, "schedule-key-deletion", "--key-id", one.KeyId, "--pending-window-in-days", "7")
	if scheduled.KeyId != one.Arn || scheduled.KeyState != "PendingDeletion" || scheduled.PendingWindowInDays != 7 {
		t.Errorf("schedule-key-deletion gave %+v", scheduled)
	}
	if aws.ask(t, &found, "describe-key", "--key-id", one.KeyId); found.KeyMetadata.DeletionDate != scheduled.DeletionDate || scheduled.DeletionDate == 0 {
		t.Errorf("describe-key gave %+v", found.KeyMetadata)
	}
	aws.refused(t, "(KMSInvalidStateException) when calling the Encrypt operation: "+one.Arn+" is pending deletion.", "encrypt", "--key-id", one.KeyId, "--plaintext", "x")
	aws.ask(t, nil, "cancel-key-deletion", "--key-id", one.KeyId)
	aws.refused(t, "(DisabledException) when calling the Encrypt operation: "+one.Arn+" is disabled.", "encrypt", "--key-id", one.KeyId, "--plaintext", "x")
	aws.ask(t, nil, "enable-key", "--key-id", one.KeyId)
	aws.ask(t, nil, "encrypt", "--key-id", one.KeyId, "--plaintext", "x")
	aws.refused(t, "(KMSInvalidStateException) when calling the CancelKeyDeletion operation: "+one.Arn+" is not pending deletion.", "cancel-key-deletion", "--key-id", one.KeyId)
}
