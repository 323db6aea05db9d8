package clients_test

import (
	"context"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/kms11/kms11/integration/kms11test"
)

const (
	useKMS    = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}`
	useKMSSTS = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["kms:*","sts:*"],"Resource":"*"}]}`
)

// identities is a server with users of three accounts, a role that the second account may take on, and
// one for the pods of an OpenID Connect issuer.
func identities(t *testing.T) (server *kms11test.Server, env []string) {
	t.Helper()
	issuer := kms11test.NewIssuer(t)
	dir := t.TempDir()
	server = kms11test.Start(t, "--config", kms11test.Write(t, dir, "kms11.yaml", "oidc:\n  - {issuer: \""+issuer.URL+"\", audiences: [sts.amazonaws.com]}\n"))
	keys := map[string]any{}
	for name, user := range map[string]struct{ account, policy string }{
		"alice": {kms11test.Account, useKMS}, "bob": {"444455556666", useKMSSTS}, "carol": {"777788889999", useKMSSTS},
	} {
		key := server.User(t, user.account, name, user.policy)
		keys[name] = map[string]string{"AccessKeyId": key.AccessKeyID, "SecretAccessKey": key.SecretAccessKey}
	}
	server.Role(t, kms11test.Account, "app", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"444455556666"},
		"Action":["sts:AssumeRole","sts:TagSession"],"Condition":{"StringEquals":{"sts:ExternalId":"a-ticket"}}}]}`, useKMS)
	name := strings.TrimPrefix(issuer.URL, "http://")
	server.Role(t, kms11test.Account, "pod", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::111122223333:oidc-provider/`+name+`"},
		"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"`+name+`:sub":"system:serviceaccount:prod:app"}}}]}`, useKMS)
	token := kms11test.Write(t, dir, "token", issuer.Token(t, "system:serviceaccount:prod:app", "sts.amazonaws.com", nil))
	text, err := json.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	return server, []string{
		"TEST_KEYS=" + string(text), "AWS_ROLE_ARN=arn:aws:iam::111122223333:role/pod", "AWS_WEB_IDENTITY_TOKEN_FILE=" + token,
	}
}

func TestBoto3Identities(t *testing.T) {
	interpreter := python(t)
	server, env := identities(t)
	runWith(t, append(server.Env(t), env...), interpreter, "-B", "boto3_identities.py")
}

// TestCLIIdentities has the CLI say who it is: with a user's access key, as a role, and in a pod.
func TestCLIIdentities(t *testing.T) {
	interpreter := python(t)
	server, env := identities(t)
	ask := func(key aws.Credentials, pod bool, args ...string) (string, error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), clientBound)
		defer cancel()
		cmd := exec.CommandContext(ctx, interpreter, append([]string{"-m", "awscli"}, args...)...)
		for _, variable := range server.Env(t) {
			if !strings.HasPrefix(variable, "AWS_ACCESS_KEY_ID=") && !strings.HasPrefix(variable, "AWS_SECRET_ACCESS_KEY=") && !strings.HasPrefix(variable, "AWS_SESSION_TOKEN=") {
				cmd.Env = append(cmd.Env, variable)
			}
		}
		if pod {
			cmd.Env = append(cmd.Env, env[1:]...)
		} else {
			cmd.Env = append(cmd.Env, "AWS_ACCESS_KEY_ID="+key.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+key.SecretAccessKey, "AWS_SESSION_TOKEN="+key.SessionToken)
		}
		output, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(output)), err
	}
	bob := server.AccessKey(t, "444455556666", "bob")
	whoami := []string{"sts", "get-caller-identity", "--query", "Arn", "--output", "text"}
	if who, err := ask(bob, false, whoami...); err != nil || who != "arn:aws:iam::444455556666:user/bob" {
		t.Errorf("%v %s", err, who)
	}
	refusal, err := ask(bob, false, "sts", "assume-role", "--role-arn", "arn:aws:iam::111122223333:role/app", "--role-session-name", "cli")
	if err == nil || !strings.Contains(refusal, "An error occurred (AccessDenied) when calling the AssumeRole operation: User: arn:aws:iam::444455556666:user/bob is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::111122223333:role/app") {
		t.Errorf("%v %s", err, refusal)
	}
	text, err := ask(bob, false, "sts", "assume-role", "--role-arn", "arn:aws:iam::111122223333:role/app", "--role-session-name", "cli", "--external-id", "a-ticket", "--output", "json")
	if err != nil {
		t.Fatalf("%v %s", err, text)
	}
	var assumed struct {
		Credentials struct{ AccessKeyID, SecretAccessKey, SessionToken string }
	}
	if err := json.Unmarshal([]byte(text), &assumed); err != nil {
		t.Fatal(err)
	}
	session := aws.Credentials{AccessKeyID: assumed.Credentials.AccessKeyID, SecretAccessKey: assumed.Credentials.SecretAccessKey, SessionToken: assumed.Credentials.SessionToken}
	if who, err := ask(session, false, whoami...); err != nil || who != "arn:aws:sts::111122223333:assumed-role/app/cli" {
		t.Errorf("%v %s", err, who)
	}
	if made, err := ask(session, false, "kms", "create-key", "--query", "KeyMetadata.AWSAccountId", "--output", "text"); err != nil || made != kms11test.Account {
		t.Errorf("%v %s", err, made)
	}
	if who, err := ask(aws.Credentials{}, true, whoami...); err != nil || !strings.HasPrefix(who, "arn:aws:sts::111122223333:assumed-role/pod/") {
		t.Errorf("%v %s", err, who)
	}
	t.Log("ok: the CLI's own commands")
}
