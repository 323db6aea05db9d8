package identity

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/ops"
)

// TestParse reads a file that has everything.
func TestParse(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("from a file, 40 characters or so long\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const text = `
account: "111122223333"
users:
  - name: alice
    path: /team/
    id: AIDAEXAMPLE
    created: 2026-03-01T12:00:00Z
    tags: {team: red}
    policies:
      use:
        Version: 2012-10-17
        Statement:
          - Effect: Allow
            Action: [kms:Encrypt, "kms:Decrypt"]
            Resource: "*"
            Condition: {Bool: {"aws:SecureTransport": true}, NumericLessThan: {"kms:RotationPeriodInDays": 365}, StringEquals: {"kms:CallerAccount": "111122223333"}}
      text: '{"Version":"2012-10-17","Statement":[]}'
    boundary: {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}}
    accessKeys:
      - {id: AKIAONE, sealed: c2VhbGVk, disabled: true}
      - {id: AKIATWO, secretFile: secret}
      - {id: AKIATHREE, secretEnv: SECRET}
  - name: bob
    account: 444455556666
roles:
  - name: app
    description: an application
    maxSessionDuration: 7200
    revokedBefore: 2026-03-01T00:00:00Z
    trust: {"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"sts:AssumeRole"}]}
`
	environment := func(name string) (string, bool) { return "from the environment", name == "SECRET" }
	var set ops.IdentitySet
	secrets, err := parse(dir, "a.yaml", []byte(text), environment, &set)
	if err != nil {
		t.Fatal(err)
	}
	if len(secrets) != 1 || secrets[0] != filepath.Join(dir, "secret") || len(set.Users) != 2 || len(set.Roles) != 1 {
		t.Fatalf("got %v, %+v", secrets, set)
	}
	alice, bob, app := set.Users[0], set.Users[1], set.Roles[0]
	if alice.File != "a.yaml" || alice.Account != "111122223333" || alice.Path != "/team/" || alice.ID != "AIDAEXAMPLE" || alice.Tags["team"] != "red" ||
		!alice.Created.Equal(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)) || bob.Account != "444455556666" {
		t.Errorf("got %+v, %+v", alice, bob)
	}
	const use = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["kms:Encrypt","kms:Decrypt"],"Resource":"*",` +
		`"Condition":{"Bool":{"aws:SecureTransport":true},"NumericLessThan":{"kms:RotationPeriodInDays":365},"StringEquals":{"kms:CallerAccount":"111122223333"}}}]}`
	if string(alice.Policies["use"]) != use || string(alice.Policies["text"]) != `{"Version":"2012-10-17","Statement":[]}` ||
		string(alice.Boundary) != `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:*","Resource":"*"}}` {
		t.Errorf("the policies are %s, %s, %s", alice.Policies["use"], alice.Policies["text"], alice.Boundary)
	}
	if k := alice.Keys; len(k) != 3 || string(k[0].Sealed) != "sealed" || !k[0].Disabled || k[1].Secret != "from a file, 40 characters or so long" || k[2].Secret != "from the environment" {
		t.Errorf("the keys are %+v", alice.Keys)
	}
	if app.Description != "an application" || app.MaxSessionSeconds != 7200 || app.Revoked.IsZero() || !strings.Contains(string(app.Trust), `"AWS":"111122223333"`) {
		t.Errorf("got %+v", app)
	}
	if _, err := parse(dir, "empty.yaml", nil, environment, &set); err != nil {
		t.Errorf("an empty file: %v", err)
	}
}

// TestParseRefuses has mistakes told.
func TestParseRefuses(t *testing.T) {
	environment := func(string) (string, bool) { return "", false }
	user := func(rest string) string { return "users: [{name: a, " + rest + "}]" }
	key := func(rest string) string { return user("accessKeys: [{id: AKIA, " + rest + "}]") }
	deep := strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000)
	for name, c := range map[string]struct{ text, want string }{
		"unknown member":    {"user: []", "field user not found"},
		"unknown in a user": {user("policy: {}"), "field policy not found"},
		"a secret in clear": {key("secret: hidden-away"), "field secret not found"},
		"no secret":         {key("disabled: true"), "it has one of sealed, secretFile and secretEnv"},
		"two secrets":       {key("sealed: x, secretEnv: y"), "it has one of sealed, secretFile and secretEnv"},
		"no variable":       {key("secretEnv: NONE"), "the environment variable NONE is not set"},
		"no file":           {key("secretFile: none"), "no such file"},
		"no base64":         {key("sealed: '!'"), "sealed is not base64"},
		"no YAML":           {"a: [", "did not find expected"},
		"two documents":     {"account: '1'\n---\naccount: '2'", "it holds more than one document"},
		"twice":             {user(`policies: {p: {Version: x, Version: y}}`), "Version is there twice"},
		"null":              {user("policies: {p: {Version: }}"), "a value is missing"},
		"text that no JSON": {user("policies: {p: nonsense}"), "the text is not JSON"},
		"no trust":          {"roles: [{name: a}]", "it is missing"},
		"too large":         {user("policies: {p: " + deep + "}"), ""},
		"merge key":         {user("policies: {p: {<<: {a: b}}}"), "a key that is no text"},
	} {
		_, err := parse(t.TempDir(), "x", []byte(c.text), environment, new(ops.IdentitySet))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "hidden-away") {
			t.Errorf("%s: the error holds the secret", name)
		}
	}
}

// FuzzParse reads whatever is in a file: an error, or policies that are JSON.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"users":[{"name":"a","policies":{"p":{"Version":"2012-10-17","Statement":[]}}}],"roles":[{"name":"r","trust":{"a":[1,true,1e3]}}]}`))
	f.Add([]byte("users:\n- name: a\n  boundary: &x {a: [*x]}"))
	f.Add([]byte("a: &a [x]\nroles: [{name: r, trust: {a: *a, b: 0x10, c: .inf, d: 2012-10-17}}]"))
	f.Add([]byte("roles: [{name: r, trust: {? [a] : b}}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var set ops.IdentitySet
		if _, err := parse("/nonexistent", "x", text, func(string) (string, bool) { return "", false }, &set); err != nil {
			return
		}
		for _, user := range set.Users {
			for name, policy := range user.Policies {
				wantJSON(t, name, policy)
			}
			if user.Boundary != nil {
				wantJSON(t, "boundary", user.Boundary)
			}
		}
		for _, role := range set.Roles {
			wantJSON(t, "trust", role.Trust)
		}
	})
}
