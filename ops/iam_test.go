package ops

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// TestUsersCountAtOnce takes users and their access keys through all that can be done with them and
// looks each time who may do what, without a restart in between.
func TestUsersCountAtOnce(t *testing.T) {
	h := newHarness(t)
	ctx := t.Context()
	key := h.createKey(nil)
	alice := Principal{User: "alice"}
	encrypt := func(k AccessKey) error {
		_, err := h.invokeAs(h.signedBy(k), "Encrypt", in{"KeyId": key.KeyId, "Plaintext": []byte("x")})
		return err
	}
	refused := func(k AccessKey) {
		t.Helper()
		if _, _, err := h.service.Credential(ctx, k.ID); !errors.Is(err, ErrUnknownAccessKey) {
			t.Errorf("the access key is still good: %v", err)
		}
	}
	denied := "User: " + userARN(account, "alice") + " is not authorized to perform: kms:Encrypt on resource: " + key.Arn

	made := must(h.service.CreateUser(ctx, new(Call), &CreateUserRequest{Name: "alice", Tags: map[string]string{"team": "red"}}))(t)
	if made.ARN != userARN(account, "alice") || !strings.HasPrefix(made.ID, "AIDA") || len(made.ID) != 21 {
		t.Errorf("made %+v", made)
	}
	first := must(h.service.CreateAccessKey(ctx, new(Call), &CreateAccessKeyRequest{User: "alice"}))(t)
	caller := h.signedBy(first).Caller
	if p := caller.Principal; p.ARN != made.ARN || p.Account != account || p.ID != made.ID || p.Tags["team"] != "red" || p.Role != "" ||
		caller.AccessKeyID != first.ID || caller.Temporary != nil {
		t.Errorf("the caller is %+v", caller)
	}
	wantError(t, encrypt(first), kms.AccessDeniedException, denied+" because no identity-based policy allows the kms:Encrypt action")

	must(h.service.PutPolicy(ctx, new(Call), &PutPolicyRequest{Principal: alice, Name: "p", Policy: json.RawMessage(grantAll)}))(t)
	if err := encrypt(first); err != nil {
		t.Errorf("a policy does not count: %v", err)
	}
	must(h.service.DeletePolicy(ctx, new(Call), &PolicyRequest{Principal: alice, Name: "p"}))(t)
	wantError(t, encrypt(first), kms.AccessDeniedException, denied+" because no identity-based policy allows the kms:Encrypt action")
	must(h.service.PutPolicy(ctx, new(Call), &PutPolicyRequest{Principal: alice, Name: "p", Policy: json.RawMessage(grantAll)}))(t)

	must(h.service.PutBoundary(ctx, new(Call), &PutBoundaryRequest{Principal: alice, Policy: json.RawMessage(grantAll)}))(t)
	if h.signedBy(first).Caller.Boundary == nil {
		t.Error("the boundary is not the caller's")
	}
	must(h.service.DeleteBoundary(ctx, new(Call), &alice))(t)
	if h.signedBy(first).Caller.Boundary != nil {
		t.Error("the boundary is still the caller's")
	}
	must(h.service.TagPrincipal(ctx, new(Call), &TagRequest{Principal: alice, Tags: map[string]string{"TEAM": "blue", "stage": ""}}))(t)
	if tags := fmt.Sprint(h.signedBy(first).Caller.Principal.Tags); tags != "map[TEAM:blue stage:]" {
		t.Errorf("the tags are %s", tags)
	}
	must(h.service.UntagPrincipal(ctx, new(Call), &UntagRequest{Principal: alice, Keys: []string{"team", "none"}}))(t)
	if tags := fmt.Sprint(h.signedBy(first).Caller.Principal.Tags); tags != "map[stage:]" {
		t.Errorf("the tags are %s", tags)
	}

	must(h.service.DisableAccessKey(ctx, new(Call), &AccessKeyRequest{ID: first.ID}))(t)
	refused(first)
	must(h.service.EnableAccessKey(ctx, new(Call), &AccessKeyRequest{ID: first.ID}))(t)
	if err := encrypt(first); err != nil {
		t.Errorf("an enabled key does not count: %v", err)
	}
	second := must(h.service.RotateAccessKey(ctx, new(Call), &RotateAccessKeyRequest{ID: first.ID}))(t)
	refused(first)
	if err := encrypt(second); err != nil {
		t.Errorf("the new key does not count: %v", err)
	}
	_, err := h.service.CreateAccessKey(ctx, new(Call), &CreateAccessKeyRequest{User: "alice"})
	wantIdentityError(t, err, LimitExceeded, "Cannot exceed quota for AccessKeysPerUser: 2")
	third := must(h.service.RotateAccessKey(ctx, new(Call), &RotateAccessKeyRequest{ID: second.ID, DeleteOld: true}))(t)
	refused(second)
	if err := encrypt(third); err != nil {
		t.Errorf("the new key does not count: %v", err)
	}
	_, err = h.service.DeleteUser(ctx, new(Call), &DeleteUserRequest{Name: "alice"})
	wantIdentityError(t, err, DeleteConflict, "Cannot delete entity, must delete access keys first.")
	must(h.service.DeleteAccessKey(ctx, new(Call), &AccessKeyRequest{ID: first.ID}))(t)
	must(h.service.DeleteUser(ctx, new(Call), &DeleteUserRequest{Name: "alice", Force: true}))(t)
	refused(third)
	if _, err := h.store.AccessKey(ctx, third.ID); !errors.Is(err, keystore.ErrNotFound) {
		t.Errorf("the access key is still stored: %v", err)
	}
	if again := must(h.service.CreateUser(ctx, new(Call), &CreateUserRequest{Name: "alice"}))(t); again.ID == made.ID {
		t.Error("a user made again has the id of the one before")
	}
}

// TestAccessKeyNeedsItsUser puts records back that a user's change had made worthless.
func TestAccessKeyNeedsItsUser(t *testing.T) {
	h := newHarness(t)
	ctx := t.Context()
	must(h.service.CreateUser(ctx, new(Call), &CreateUserRequest{Name: "alice"}))(t)
	key := must(h.service.CreateAccessKey(ctx, new(Call), &CreateAccessKeyRequest{User: "alice"}))(t)
	old := must(h.store.AccessKey(ctx, key.ID))(t).Clone()
	must(h.service.DeleteAccessKey(ctx, new(Call), &AccessKeyRequest{ID: key.ID}))(t)
	h.store1(func(tx *keystore.Tx) error { return tx.PutAccessKey(old) })
	if _, _, err := h.service.Credential(ctx, key.ID); !errors.Is(err, ErrUnknownAccessKey) {
		t.Errorf("a key that its user does not list is good: %v", err)
	}
	_, err := h.service.EnableAccessKey(ctx, new(Call), &AccessKeyRequest{ID: key.ID})
	wantIdentityError(t, err, NoSuchEntity, "The Access Key with id "+key.ID+" cannot be found.")
}

// TestIdentityErrors has every mistake of an administrator told.
func TestIdentityErrors(t *testing.T) {
	h := newHarness(t)
	h.user(account, "alice")
	h.role(account, "app", trustsAccount)
	long := strings.Repeat("x", 65)
	policyOf := func(statement string) in {
		return in{"user": "alice", "name": "p", "policy": json.RawMessage(`{"Version":"2012-10-17","Statement":[` + statement + `]}`)}
	}
	trustOf := func(statement string) in {
		return in{"name": "app", "trust": json.RawMessage(`{"Version":"2012-10-17","Statement":[` + statement + `]}`)}
	}
	for _, c := range []struct {
		action  string
		request any
		code    IdentityCode
		text    string
	}{
		{"create-user", in{"name": "alice"}, EntityAlreadyExists, "User with name alice already exists."},
		{"create-user", in{"name": "a b"}, ValidationError, `The name "a b" is not 1 to 64 letters, digits or any of +=,.@_-.`},
		{"create-user", in{"name": long}, ValidationError, `The name "` + long + `" is not 1 to 64 letters, digits or any of +=,.@_-.`},
		{"create-user", in{"name": "x", "account": "1"}, ValidationError, `The account id "1" is not 12 digits.`},
		{"create-user", in{"name": "x", "path": "a/"}, ValidationError, `The path "a/" does not begin and end with a slash, or has more than 512 characters.`},
		{"create-user", in{"name": "x", "tags": in{"aws:x": "1"}}, ValidationError, `A tag has the key "aws:x", which no tag can have.`},
		{"create-user", in{"name": "x", "tags": in{"a": "1", "A": "2"}}, ValidationError, "Duplicate tag keys found. Please note that Tag keys are case insensitive."},
		{"create-user", in{"name": "x", "tags": in{"a": "<"}}, ValidationError, `The tag "a" has a value that no tag can have.`},
		{"create-user", in{"nome": "x"}, ValidationError, "The request is not one of this program's version."},
		{"delete-user", in{"name": "bob"}, NoSuchEntity, "The user with name bob cannot be found."},
		{"delete-user", in{"name": "admin"}, DeleteConflict, "The user admin belongs to the keystore and stays. Disable or delete its access keys instead."},
		{"create-role", in{"name": "app", "trust": json.RawMessage(trustsAccount)}, EntityAlreadyExists, "Role with name app already exists."},
		{"create-role", in{"name": "r", "trust": json.RawMessage(trustsAccount), "maxSessionSeconds": 60}, ValidationError, "The maximum session duration is 3600 to 43200 seconds."},
		{"create-role", in{"name": "r"}, MalformedPolicyDocument, "Syntax errors in policy."},
		{"delete-role", in{"name": "r"}, NoSuchEntity, "The role with name r cannot be found."},
		{"put-trust", trustOf(`{"Effect":"Allow","Action":"sts:AssumeRole"}`), MalformedPolicyDocument, "Missing required field Principal"},
		{"put-trust", trustOf(`{"Effect":"Allow","Principal":"*"}`), MalformedPolicyDocument, "Missing required field Action"},
		{"put-trust", trustOf(`{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Resource":"*"}`), MalformedPolicyDocument, "Has prohibited field Resource"},
		{"put-trust", trustOf(`{"Effect":"Allow","Principal":{"AWS":"nobody"},"Action":"sts:AssumeRole"}`), MalformedPolicyDocument, "Invalid principal in policy"},
		{"put-policy", policyOf(`{"Effect":"Allow","Action":"kms:*"}`), MalformedPolicyDocument, "Policy statement must contain resources."},
		{"put-policy", policyOf(`{"Effect":"Allow","Resource":"*"}`), MalformedPolicyDocument, "Policy statement must contain actions."},
		{"put-policy", policyOf(`{"Effect":"Allow","Action":"kms:*","Resource":"*","Principal":"*"}`), MalformedPolicyDocument, "Policy document should not specify a principal."},
		{"put-policy", policyOf(`{"Effect":"Maybe"}`), MalformedPolicyDocument, "Syntax errors in policy."},
		{"put-policy", in{"user": "alice", "role": "app", "name": "p", "policy": in{}}, ValidationError, "Name a user or a role."},
		{"put-policy", in{"name": "p", "policy": in{}}, ValidationError, "Name a user or a role."},
		{"put-policy", in{"user": "alice", "name": "p/q", "policy": json.RawMessage(grantAll)}, ValidationError, `The policy name "p/q" is not 1 to 128 letters, digits or any of +=,.@_-.`},
		{"delete-policy", in{"user": "alice", "name": "none"}, NoSuchEntity, "The user policy with name none cannot be found for user alice."},
		{"delete-policy", in{"role": "app", "name": "none"}, NoSuchEntity, "The role policy with name none cannot be found for role app."},
		{"put-boundary", in{"user": "alice"}, MalformedPolicyDocument, "Syntax errors in policy."},
		{"create-access-key", in{"user": "bob"}, NoSuchEntity, "The user with name bob cannot be found."},
		{"rotate-access-key", in{"accessKeyId": "AKIANONE"}, NoSuchEntity, "The Access Key with id AKIANONE cannot be found."},
		{"disable-access-key", in{"accessKeyId": "AKIANONE"}, NoSuchEntity, "The Access Key with id AKIANONE cannot be found."},
		{"seal", in{"accessKeyId": "x"}, ValidationError, "The access key id is not 16 to 128 letters and digits, or begins with ASIA."},
		{"seal", in{"secretAccessKey": "short"}, ValidationError, "The secret has fewer than 20 characters."},
		{"fly", in{}, ValidationError, `There is no action "fly".`},
	} {
		t.Run(c.action, func(t *testing.T) {
			request, err := json.Marshal(c.request)
			if err != nil {
				t.Fatal(err)
			}
			_, err = h.service.Administer(t.Context(), Origin{}, c.action, request)
			wantIdentityError(t, err, c.code, c.text)
		})
	}
	list := must(h.service.ListIdentities(t.Context(), new(Call), &ListIdentitiesRequest{}))(t)
	if len(list.Users) != 1 || len(list.Roles) != 1 || len(list.Users[0].Policies)+len(list.Roles[0].Policies) != 0 || string(list.Roles[0].Trust) != trustsAccount {
		t.Errorf("a refused request changed something: %+v", list)
	}
}

// TestUserOfOlderStore takes a user whose record is of the first content version, which has no id and
// does not list its access keys.
func TestUserOfOlderStore(t *testing.T) {
	h := newHarness(t)
	ctx := t.Context()
	key := must(h.service.CreateAdministrator(ctx))(t)
	admin := h.signedBy(key).Caller.Principal
	older := *must(h.store.User(ctx, keystore.UserID{Partition: "aws", Account: account, Name: administrator}))(t)
	older.ID, older.AccessKeys = "", nil
	record := must(h.store.AccessKey(ctx, key.ID))(t)
	if !owns(&older, record) || len(idOf(&older)) != 21 || idOf(&older) == admin.ID {
		t.Errorf("an older user's id is %s", idOf(&older))
	}
	other := *record
	other.PrincipalARN = userARN(account, "other")
	if owns(&older, &other) {
		t.Error("an older user owns another user's key")
	}
}

// TestListIdentities looks at several accounts and pages.
func TestListIdentities(t *testing.T) {
	h := newHarness(t)
	h.user(stranger, "zoe")
	h.user(account, "bob")
	h.user(account, "alice")
	h.role(stranger, "app", trustsAccount)
	list := must(h.service.ListIdentities(t.Context(), new(Call), &ListIdentitiesRequest{}))(t)
	var names []string
	for _, info := range append(list.Users, list.Roles...) {
		names = append(names, info.ARN)
	}
	want := "[arn:aws:iam::111122223333:user/alice arn:aws:iam::111122223333:user/bob arn:aws:iam::444455556666:user/zoe arn:aws:iam::444455556666:role/app]"
	if fmt.Sprint(names) != want {
		t.Errorf("got %v", names)
	}
	if len(list.Users[0].AccessKeys) != 1 || list.Users[0].AccessKeys[0].Disabled {
		t.Errorf("the access keys are %+v", list.Users[0].AccessKeys)
	}
	text, err := json.Marshal(list)
	if err != nil || strings.Contains(string(text), "ecret") {
		t.Errorf("the list tells of a secret: %s, %v", text, err)
	}
	list = must(h.service.ListIdentities(t.Context(), new(Call), &ListIdentitiesRequest{Account: stranger}))(t)
	if len(list.Users) != 1 || len(list.Roles) != 1 {
		t.Errorf("got %+v", list)
	}
}
