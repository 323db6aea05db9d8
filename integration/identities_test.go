package integration_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/kms11/kms11/integration/kms11test"
)

// Two more accounts.
const (
	secondAccount = "444455556666"
	thirdAccount  = "777788889999"
)

const (
	everything    = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}`
	everythingSTS = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["kms:*","sts:*"],"Resource":"*"}]}`
)

// TestThreeAccounts has users of three accounts share a key as AWS's accounts do.
func TestThreeAccounts(t *testing.T) {
	server := kms11test.Start(t)
	ctx := t.Context()
	alice := server.User(t, kms11test.Account, "alice", everything)
	bob := server.User(t, secondAccount, "bob", everythingSTS)
	carol := server.User(t, thirdAccount, "carol", everything)
	dave := server.User(t, secondAccount, "dave", "")

	key := must(server.ClientWith(t, alice).CreateKey(ctx, &kms.CreateKeyInput{Policy: aws.String(`{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"},
		{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::444455556666:root"},"Action":["kms:Encrypt","kms:Decrypt"],"Resource":"*",
		 "Condition":{"StringEquals":{"kms:EncryptionContext:app":"shared"}}}]}`)}))(t).KeyMetadata
	encrypt := func(by aws.Credentials, app string) error {
		_, err := server.ClientWith(t, by).Encrypt(ctx, &kms.EncryptInput{KeyId: key.Arn, Plaintext: []byte("x"), EncryptionContext: map[string]string{"app": app}})
		return err
	}
	for _, by := range []aws.Credentials{alice, bob} {
		if err := encrypt(by, "shared"); err != nil {
			t.Errorf("got %v", err)
		}
	}
	user := func(account, name string) string { return "User: arn:aws:iam::" + account + ":user/" + name }
	unseen := " is not authorized to perform: kms:Encrypt on this resource because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"
	wantCode(t, encrypt(bob, "other"), "AccessDeniedException", user(secondAccount, "bob")+unseen)
	wantCode(t, encrypt(carol, "shared"), "AccessDeniedException", user(thirdAccount, "carol")+unseen)
	wantCode(t, encrypt(dave, "shared"), "AccessDeniedException", user(secondAccount, "dave")+" is not authorized to perform: kms:Encrypt on resource: "+*key.Arn+" because no identity-based policy allows the kms:Encrypt action")

	// A boundary, tags and disabled keys count at once.
	server.MustIAM(t, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:DescribeKey","Resource":"*"}]}`,
		"put-boundary", "--user", "alice", "--policy", "-")
	wantCode(t, encrypt(alice, "shared"), "AccessDeniedException", user(kms11test.Account, "alice")+" is not authorized to perform: kms:Encrypt on resource: "+*key.Arn+" because no permissions boundary allows the kms:Encrypt action")
	server.MustIAM(t, "", "delete-boundary", "--user", "alice")
	server.MustIAM(t, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"red"}}}]}`,
		"put-policy", "--user", "alice", "--name", "use", "--policy", "-")
	if err := encrypt(alice, "shared"); err == nil {
		t.Error("a tag that is not there let alice in")
	}
	server.MustIAM(t, "", "tag", "--user", "alice", "--tag", "team=red")
	if err := encrypt(alice, "shared"); err != nil {
		t.Errorf("got %v", err)
	}
	server.MustIAM(t, "", "disable-access-key", "--id", alice.AccessKeyID)
	wantCode(t, encrypt(alice, "shared"), "UnrecognizedClientException", "The security token included in the request is invalid.")
	server.Kill(t)
	server.Restart(t)
	wantCode(t, encrypt(alice, "shared"), "UnrecognizedClientException", "The security token included in the request is invalid.")
	server.MustIAM(t, "", "enable-access-key", "--id", alice.AccessKeyID)
	if err := encrypt(alice, "shared"); err != nil {
		t.Errorf("got %v", err)
	}

	// A grant names a principal that exists.
	_, err := server.Client(t).CreateGrant(ctx, &kms.CreateGrantInput{KeyId: key.Arn, GranteePrincipal: aws.String("arn:aws:iam::444455556666:role/none"), Operations: []types.GrantOperation{types.GrantOperationEncrypt}})
	wantCode(t, err, "InvalidArnException", "ARN does not refer to a valid principal: arn:aws:iam::444455556666:role/none")
}

// TestAdministratorsNewKey gives the administrator a key in place of a lost one.
func TestAdministratorsNewKey(t *testing.T) {
	server := kms11test.Start(t)
	old := server.Admin(t).Key
	made := server.MustIAM(t, "", "rotate-access-key", "--id", old.AccessKeyID)
	id, secret, found := strings.Cut(strings.TrimPrefix(made, "export AWS_SESSION_TOKEN=\nexport AWS_ACCESS_KEY_ID="), "\nexport AWS_SECRET_ACCESS_KEY=")
	if !found {
		t.Fatalf("rotate-access-key printed another form: %d bytes", len(made))
	}
	key := aws.Credentials{AccessKeyID: id, SecretAccessKey: strings.TrimSpace(secret)}
	if _, err := server.ClientWith(t, key).ListKeys(t.Context(), &kms.ListKeysInput{}); err != nil {
		t.Errorf("the new key: %v", err)
	}
	_, err := server.ClientWith(t, old).ListKeys(t.Context(), &kms.ListKeysInput{})
	wantCode(t, err, "UnrecognizedClientException", "The security token included in the request is invalid.")
	list := server.MustIAM(t, "", "list")
	if !strings.Contains(list, old.AccessKeyID+" (disabled)") || !strings.Contains(list, key.AccessKeyID) || strings.Contains(list, key.SecretAccessKey) {
		t.Errorf("the list is\n%s", list)
	}
	if strings.Contains(server.Log(t), key.SecretAccessKey) {
		t.Error("the log holds the secret")
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"create-user", "--user", "admin"}, 1, "kms11: EntityAlreadyExists: User with name admin already exists.\n"},
		{[]string{"delete-user", "--user", "admin", "--force"}, 1, "kms11: DeleteConflict: The user admin belongs to the keystore and stays. Disable or delete its access keys instead.\n"},
		{[]string{"create-access-key", "--user", "bob"}, 1, "kms11: NoSuchEntity: The user with name bob cannot be found.\n"},
		{[]string{"create-role", "--role", "r"}, 2, "kms11: create-role needs --trust: see kms11 iam create-role --help\n"},
		{[]string{"create-role", "--role", "r", "--trust", "/nonexistent"}, 2, "kms11: open /nonexistent: no such file or directory\n"},
		{[]string{"tag", "--user", "admin", "--tag", "x"}, 2, "kms11: --tag \"x\" is not key=value, or is there twice\n"},
	} {
		_, stderr, code := server.IAM(t, "", c.args[0], c.args[1:]...)
		if code != c.code || stderr != c.want {
			t.Errorf("%q: %d %q", c.args, code, stderr)
		}
	}
}

// TestAssumeRole takes on roles across accounts with the AWS SDK, as programs do.
func TestAssumeRole(t *testing.T) {
	server := kms11test.Start(t)
	ctx := t.Context()
	bob := server.User(t, secondAccount, "bob", everythingSTS)
	server.Role(t, kms11test.Account, "app", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"a ticket"}}},
		{"Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":"sts:TagSession"}]}`, everything)
	const role = "arn:aws:iam::111122223333:role/app"
	_, err := server.STS(t, bob).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String(role), RoleSessionName: aws.String("s1")})
	wantCode(t, err, "AccessDenied", "User: arn:aws:iam::444455556666:user/bob is not authorized to perform: sts:AssumeRole on resource: "+role)
	_, err = server.STS(t, bob).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String(role), RoleSessionName: aws.String("s1"), ExternalId: aws.String("aticket")})
	wantCode(t, err, "AccessDenied", "is not authorized to perform: sts:AssumeRole")

	server.MustIAM(t, strings.ReplaceAll(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":["sts:AssumeRole","sts:TagSession"],"Condition":{"StringEquals":{"sts:ExternalId":"a-ticket"}}}]}`, "\t", ""),
		"put-trust", "--role", "app", "--trust", "-")
	provider := stscreds.NewAssumeRoleProvider(server.STS(t, bob), role, func(o *stscreds.AssumeRoleOptions) {
		o.ExternalID, o.RoleSessionName = aws.String("a-ticket"), "from-sdk"
		o.Tags = []ststypes.Tag{{Key: aws.String("project"), Value: aws.String("kms11")}}
	})
	session := must(provider.Retrieve(ctx))(t)
	if left := time.Until(session.Expires); !session.CanExpire || left > 15*time.Minute {
		t.Errorf("the session ends in %v", left)
	}
	who := must(server.STS(t, session).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}))(t)
	if *who.Arn != "arn:aws:sts::111122223333:assumed-role/app/from-sdk" || *who.Account != kms11test.Account || !strings.HasSuffix(*who.UserId, ":from-sdk") {
		t.Errorf("the session is %s, %s", *who.Arn, *who.UserId)
	}
	client := server.ClientWith(t, session)
	key := must(client.CreateKey(ctx, &kms.CreateKeyInput{}))(t).KeyMetadata
	if *key.AWSAccountId != kms11test.Account {
		t.Errorf("the key is of account %s", *key.AWSAccountId)
	}

	narrow := must(server.STS(t, bob).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String(role), RoleSessionName: aws.String("s2"), ExternalId: aws.String("a-ticket"),
		Policy: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:DescribeKey","Resource":"*"}]}`), DurationSeconds: aws.Int32(900)}))(t)
	limited := aws.Credentials{AccessKeyID: *narrow.Credentials.AccessKeyId, SecretAccessKey: *narrow.Credentials.SecretAccessKey, SessionToken: *narrow.Credentials.SessionToken}
	if _, err := server.ClientWith(t, limited).DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: key.Arn}); err != nil {
		t.Errorf("got %v", err)
	}
	_, err = server.ClientWith(t, limited).Encrypt(ctx, &kms.EncryptInput{KeyId: key.Arn, Plaintext: []byte("x")})
	wantCode(t, err, "AccessDeniedException", "User: arn:aws:sts::111122223333:assumed-role/app/s2 is not authorized to perform: kms:Encrypt on resource: "+*key.Arn+" because no session policy allows the kms:Encrypt action")
	if _, err := server.ClientWith(t, limited).CreateKey(ctx, &kms.CreateKeyInput{}); err == nil {
		t.Error("a session did what its policy does not allow")
	}

	mixed := session
	mixed.SessionToken = limited.SessionToken
	_, err = server.ClientWith(t, mixed).ListKeys(ctx, &kms.ListKeysInput{})
	wantCode(t, err, "UnrecognizedClientException", "The security token included in the request is invalid.")
	// Sessions outlive the process: nothing of them is kept in it.
	server.Kill(t)
	server.Restart(t)
	if _, err := server.ClientWith(t, session).ListKeys(ctx, &kms.ListKeysInput{}); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	server.MustIAM(t, "", "revoke-sessions", "--role", "app")
	_, err = server.ClientWith(t, session).ListKeys(ctx, &kms.ListKeysInput{})
	wantCode(t, err, "UnrecognizedClientException", "The security token included in the request is invalid.")
	for _, secret := range []string{session.SecretAccessKey, session.SessionToken, bob.SecretAccessKey} {
		if strings.Contains(server.Log(t), secret) {
			t.Error("the log holds a secret")
		}
	}
}

// TestWebIdentity takes on a role with the token of an OpenID Connect issuer, and tries all that is
// wrong with tokens.
func TestWebIdentity(t *testing.T) {
	issuer := kms11test.NewIssuer(t)
	config := kms11test.Write(t, t.TempDir(), "kms11.yaml", "oidc:\n  - issuer: "+issuer.URL+"\n    audiences: [sts.amazonaws.com]\n")
	server := kms11test.Start(t, "--config", config)
	ctx := t.Context()
	name := strings.TrimPrefix(issuer.URL, "http://")
	server.Role(t, kms11test.Account, "pod", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::111122223333:oidc-provider/`+name+`"},
		"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"`+name+`:sub":"system:serviceaccount:prod:app","`+name+`:aud":"sts.amazonaws.com"}}}]}`, everything)
	const role, subject, audience = "arn:aws:iam::111122223333:role/pod", "system:serviceaccount:prod:app", "sts.amazonaws.com"
	assume := func(roleARN, token string) (*sts.AssumeRoleWithWebIdentityOutput, error) {
		return server.STS(t, aws.Credentials{}).AssumeRoleWithWebIdentity(ctx, &sts.AssumeRoleWithWebIdentityInput{
			RoleArn: aws.String(roleARN), RoleSessionName: aws.String("pod-1"), WebIdentityToken: aws.String(token),
		})
	}
	good := issuer.Token(t, subject, audience, nil)
	got := must(assume(role, good))(t)
	if *got.Provider != issuer.URL || *got.Audience != audience || *got.SubjectFromWebIdentityToken != subject || *got.AssumedRoleUser.Arn != "arn:aws:sts::111122223333:assumed-role/pod/pod-1" {
		t.Errorf("got %+v", got)
	}
	// As the SDK does it in a pod: from a file.
	provider := stscreds.NewWebIdentityRoleProvider(server.STS(t, aws.Credentials{}), role, stscreds.IdentityTokenFile(kms11test.Write(t, t.TempDir(), "token", good)))
	session := must(provider.Retrieve(ctx))(t)
	if _, err := server.ClientWith(t, session).CreateKey(ctx, &kms.CreateKeyInput{}); err != nil {
		t.Errorf("got %v", err)
	}
	claim := func(name string, value any) string {
		return issuer.Token(t, subject, audience, func(_, claims map[string]any) { claims[name] = value })
	}
	header := func(name string, value any) string {
		return issuer.Token(t, subject, audience, func(header, _ map[string]any) { header[name] = value })
	}
	none := strings.Split(header("alg", "none"), ".")
	stranger := kms11test.NewIssuer(t)
	for _, c := range []struct{ what, role, token, code, text string }{
		{"another subject", role, claim("sub", "system:serviceaccount:test:app"), "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"},
		{"a role that is not there", "arn:aws:iam::111122223333:role/none", good, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"},
		{"another audience", role, claim("aud", "x"), "InvalidIdentityToken", "Incorrect token audience"},
		{"expired", role, claim("exp", time.Now().Add(-time.Minute).Unix()), "ExpiredTokenException", "Token expired: current date/time "},
		{"not yet valid", role, claim("nbf", time.Now().Add(time.Hour).Unix()), "InvalidIdentityToken", "Token is not yet valid"},
		{"another issuer", role, stranger.Token(t, subject, audience, nil), "InvalidIdentityToken", "No OpenIDConnect provider found in your account for " + stranger.URL},
		{"another issuer under this one's name", role, stranger.Token(t, subject, audience, func(_, claims map[string]any) { claims["iss"] = issuer.URL }), "InvalidIdentityToken", "Token signature verification failed"},
		{"another account", "arn:aws:iam::444455556666:role/pod", good, "InvalidIdentityToken", "No OpenIDConnect provider found in your account for " + issuer.URL},
		{"algorithm none", role, none[0] + "." + none[1] + ".", "InvalidIdentityToken", "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"},
		{"HMAC", role, header("alg", "HS256"), "InvalidIdentityToken", "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"},
		{"an unknown key", role, header("kid", "two"), "InvalidIdentityToken", "Token signature verification failed"},
		{"cut", role, good[:len(good)-8], "InvalidIdentityToken", ""},
		{"no token", role, "nonsense", "InvalidIdentityToken", "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"},
	} {
		t.Run(c.what, func(t *testing.T) {
			_, err := assume(c.role, c.token)
			wantCode(t, err, c.code, c.text)
		})
	}
	if strings.Contains(server.Log(t), good) || strings.Contains(server.Log(t), session.SessionToken) {
		t.Error("the log holds a token")
	}
}

// TestIdentitiesDirectory changes the files of a running server.
func TestIdentitiesDirectory(t *testing.T) {
	dir, secrets := t.TempDir(), t.TempDir()
	config := kms11test.Write(t, secrets, "kms11.yaml", "identities: "+dir+"\n")
	kms11test.Write(t, dir, "users.yaml", "account: \"444455556666\"\n")
	server := kms11test.Start(t, "--config", config)
	ctx := t.Context()

	var sealed struct{ AccessKeyID, SecretAccessKey, Sealed string }
	if err := json.Unmarshal([]byte(server.MustIAM(t, "", "seal", "--json")), &sealed); err != nil {
		t.Fatal(err)
	}
	const given = "a secret that came from elsewhere, 40 c."
	var other struct{ AccessKeyID, SecretAccessKey, Sealed string }
	if err := json.Unmarshal([]byte(server.MustIAM(t, given+"\n", "seal", "--json", "--id", "AKIAFROMELSEWHERE123", "--secret-stdin")), &other); err != nil || other.SecretAccessKey != "" {
		t.Fatalf("%v, or the given secret came back", err)
	}
	users := `
account: "444455556666"
users:
  - name: filed
    policies:
      use: {Version: 2012-10-17, Statement: [{Effect: Allow, Action: "kms:*", Resource: "*"}]}
    accessKeys:
      - {id: ` + sealed.AccessKeyID + `, sealed: ` + sealed.Sealed + `}
      - {id: ` + other.AccessKeyID + `, sealed: ` + other.Sealed + `}
`
	key := aws.Credentials{AccessKeyID: sealed.AccessKeyID, SecretAccessKey: sealed.SecretAccessKey}
	use := func(key aws.Credentials) error {
		_, err := server.ClientWith(t, key).ListKeys(ctx, &kms.ListKeysInput{})
		return err
	}
	wantCode(t, use(key), "UnrecognizedClientException", "")
	kms11test.Write(t, dir, "users.yaml", users)
	server.HangUp(t)
	await(t, "the file counts", func() bool { return use(key) == nil })
	if err := use(aws.Credentials{AccessKeyID: other.AccessKeyID, SecretAccessKey: given}); err != nil {
		t.Errorf("got %v", err)
	}

	// A bad file changes nothing and shows.
	kms11test.Write(t, dir, "roles.yaml", "roles: [{name: app, trust: {}}]\n")
	await(t, "the status shows the problem", func() bool { // without a signal
		output, _ := kms11test.Command(t, "status", "--data", server.Dir)
		return strings.Contains(output, `"problem": "roles.yaml: role app: `)
	})
	if err := use(key); err != nil {
		t.Errorf("a bad file elsewhere took a user away: %v", err)
	}
	if !strings.Contains(server.Log(t), "the identities directory is refused; what it said before stays") {
		t.Error("the log does not tell of the bad file")
	}
	kms11test.Write(t, dir, "roles.yaml", "# none\n")
	await(t, "the problem is gone", func() bool {
		output, _ := kms11test.Command(t, "status", "--data", server.Dir)
		return strings.Contains(output, `"users": 1`) && !strings.Contains(output, "problem")
	})
	kms11test.Write(t, dir, "users.yaml", "# nobody\n")
	await(t, "the user is gone", func() bool { return use(key) != nil })
	wantCode(t, use(key), "UnrecognizedClientException", "The security token included in the request is invalid.")
	log := server.Log(t)
	if strings.Contains(log, given) || strings.Contains(log, sealed.SecretAccessKey) {
		t.Error("the log holds a secret")
	}

	// A start with a bad file says so.
	kms11test.Write(t, dir, "users.yaml", "users: x\n")
	server.Stop(t)
	output, code := kms11test.Command(t, "serve", "--config", config, "--data", server.Dir, "--listen", "127.0.0.1:0")
	if code != 2 || !strings.Contains(output, "identities: users.yaml: ") {
		t.Errorf("%d %s", code, output)
	}
}

// await waits for what a running server does in its own time. The bound only ends a test that hangs.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("it did not come to pass: %s", what)
}
