package ops

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/kms11/kms11/keystore"
)

const trustsAccount = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"sts:AssumeRole"}]}`

// must gives the value of a call that has to succeed.
func must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// wantIdentityError fails the test unless err is this code with exactly this message.
func wantIdentityError(t testing.TB, err error, code IdentityCode, message string) {
	t.Helper()
	var got *IdentityError
	if !errors.As(err, &got) {
		t.Errorf("got %v, want %s: %s", err, code, message)
		return
	}
	if got.Code != code || got.Message != message {
		t.Errorf("got  %s: %s\nwant %s: %s", got.Code, got.Message, code, message)
	}
}

// user makes a user with policies and gives a call that it signs.
func (h *harness) user(account, name string, policies ...string) *Call {
	h.t.Helper()
	must(h.service.CreateUser(h.t.Context(), new(Call), &CreateUserRequest{Account: account, Name: name}))(h.t)
	for i, text := range policies {
		must(h.service.PutPolicy(h.t.Context(), new(Call), &PutPolicyRequest{
			Principal: Principal{Account: account, User: name}, Name: string(rune('a' + i)), Policy: json.RawMessage(text),
		}))(h.t)
	}
	key := must(h.service.CreateAccessKey(h.t.Context(), new(Call), &CreateAccessKeyRequest{Account: account, User: name}))(h.t)
	return h.signedBy(key)
}

// role makes a role with policies.
func (h *harness) role(account, name, trust string, policies ...string) PrincipalInfo {
	h.t.Helper()
	made := must(h.service.CreateRole(h.t.Context(), new(Call), &CreateRoleRequest{Account: account, Name: name, Trust: json.RawMessage(trust), MaxSessionSeconds: 7200}))(h.t)
	for i, text := range policies {
		must(h.service.PutPolicy(h.t.Context(), new(Call), &PutPolicyRequest{
			Principal: Principal{Account: account, Role: name}, Name: string(rune('a' + i)), Policy: json.RawMessage(text),
		}))(h.t)
	}
	return made
}

// signedBy is a request that a long-term access key signs.
func (h *harness) signedBy(key AccessKey) *Call {
	h.t.Helper()
	secret, caller, err := h.service.Credential(h.t.Context(), key.ID)
	if err != nil || secret != key.Secret {
		h.t.Fatalf("the access key %s is not good: %v", key.ID, err)
	}
	return &Call{RequestID: "test", Region: testRegion, Caller: caller}
}

// within is a request of a session.
func (h *harness) within(c SessionCredentials) *Call {
	h.t.Helper()
	secret, expires, caller, err := h.service.SessionCredential(h.t.Context(), "192.0.2.1", c.ID, c.Token)
	if err != nil || secret != c.Secret || !expires.Equal(c.Expires) {
		h.t.Fatalf("the session %s is not good: %v", c.ID, err)
	}
	return &Call{RequestID: "test", Region: testRegion, Caller: caller}
}

func (h *harness) store1(write func(tx *keystore.Tx) error) {
	h.t.Helper()
	if err := h.store.Update(context.WithoutCancel(h.t.Context()), write); err != nil {
		h.t.Fatal(err)
	}
}
