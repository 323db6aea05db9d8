package ops

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/oidc"
)

// issuers is a verifier whose tokens are words: package oidc has tests of its own.
type issuers map[string]func() (*oidc.Token, error)

func (i issuers) Verify(_ context.Context, account, token string) (*oidc.Token, error) {
	if account != "111122223333" || i[token] == nil {
		return nil, oidc.ErrIssuer
	}
	return i[token]()
}

// TestWebIdentity takes tokens to roles that trust an issuer, another one, or everybody.
func TestWebIdentity(t *testing.T) {
	h := newHarness(t)
	ctx := t.Context()
	const issuer = "https://oidc.example.com/id/1"
	provider := &oidc.Provider{Account: account, Issuer: issuer}
	fails := func(err error) func() (*oidc.Token, error) { return func() (*oidc.Token, error) { return nil, err } }
	h.service.web = issuers{
		"good": func() (*oidc.Token, error) {
			return &oidc.Token{Provider: provider, Subject: "system:serviceaccount:prod:app", Audience: "sts", Audiences: []string{"sts", "x"}, AMR: []string{"authenticated"}}, nil
		},
		"expired":   fails(&oidc.ExpiredError{Now: time.Unix(1616015340, 0), Expired: time.Unix(1616015339, 0)}),
		"audience":  fails(oidc.ErrAudience),
		"malformed": fails(oidc.ErrMalformed),
		"signature": fails(oidc.ErrSignature),
		"not yet":   fails(oidc.ErrNotYet),
		"claims":    fails(oidc.ErrClaims),
		"keys":      fails(oidc.ErrKeys),
	}
	arn := "arn:aws:iam::" + account + ":oidc-provider/oidc.example.com/id/1"
	statement := func(principal, condition string) string {
		return trust(`{"Effect":"Allow","Principal":` + principal + `,"Action":"sts:AssumeRoleWithWebIdentity","Condition":` + condition + `}`)
	}
	federated := `{"Federated":"` + arn + `"}`
	for name, c := range map[string]struct {
		trust   string
		allowed bool
	}{
		"subject":         {statement(federated, `{"StringEquals":{"oidc.example.com/id/1:sub":"system:serviceaccount:prod:app","oidc.example.com/id/1:aud":"sts"}}`), true},
		"subjects":        {statement(federated, `{"StringLike":{"oidc.example.com/id/1:sub":"system:serviceaccount:prod:*"}}`), true},
		"another subject": {statement(federated, `{"StringEquals":{"oidc.example.com/id/1:sub":"system:serviceaccount:test:app"}}`), false},
		"another aud":     {statement(federated, `{"StringEquals":{"oidc.example.com/id/1:aud":"x"}}`), false},
		"method":          {statement(federated, `{"ForAnyValue:StringEquals":{"oidc.example.com/id/1:amr":"authenticated"}}`), true},
		"session's name":  {statement(federated, `{"StringEquals":{"sts:RoleSessionName":"session"}}`), true},
		"other issuer":    {statement(`{"Federated":"arn:aws:iam::`+account+`:oidc-provider/oidc.example.com/id/2"}`, `{}`), false},
		"everybody":       {statement(`"*"`, `{}`), false},
		"every AWS":       {statement(`{"AWS":"*"}`, `{}`), false},
		"the account":     {statement(`{"AWS":"`+account+`"}`, `{}`), false},
		"both":            {statement(`{"AWS":"`+account+`","Federated":"`+arn+`"}`, `{}`), true},
		"another action":  {trust(`{"Effect":"Allow","Principal":` + federated + `,"Action":"sts:AssumeRole"}`), false},
		"denied":          {trust(`{"Effect":"Allow","Principal":` + federated + `,"Action":"sts:*"},{"Effect":"Deny","Principal":"*","Action":"sts:AssumeRoleWithWebIdentity"}`), false},
	} {
		t.Run(name, func(t *testing.T) {
			h.t = t
			role := h.role(account, "app", c.trust)
			defer func() { must(h.service.DeleteRole(ctx, new(Call), &RoleRequest{Name: "app"}))(t) }()
			in := &WebIdentityRequest{RoleARN: role.ARN, RoleSessionName: "session", WebIdentityToken: "good", DurationSeconds: 900}
			got, err := h.service.AssumeRoleWithWebIdentity(ctx, new(Call), in)
			if !c.allowed {
				wantIdentityError(t, err, AccessDenied, "Not authorized to perform sts:AssumeRoleWithWebIdentity")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			caller := h.within(got.Credentials).Caller
			if got.Provider != issuer || got.Audience != "sts" || got.Subject != "system:serviceaccount:prod:app" ||
				caller.Principal.ARN != "arn:aws:sts::"+account+":assumed-role/app/session" || caller.Temporary.Provider != arn || caller.Temporary.Subject != got.Subject ||
				!got.Credentials.Expires.Equal(h.clock.Now().Add(15*time.Minute)) {
				t.Errorf("got %+v, %+v", got, caller.Temporary)
			}
		})
	}

	h.t = t
	role := h.role(account, "app", statement(federated, `{}`))
	for _, c := range []struct {
		token string
		code  IdentityCode
		text  string
	}{
		{"expired", ExpiredWebIdentity, "Token expired: current date/time 1616015340 must be before the expiration date/time 1616015339"},
		{"audience", InvalidIdentityToken, "Incorrect token audience"},
		{"malformed", InvalidIdentityToken, "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"},
		{"signature", InvalidIdentityToken, "Token signature verification failed"},
		{"not yet", InvalidIdentityToken, "Token is not yet valid"},
		{"claims", InvalidIdentityToken, "Missing a required claim"},
		{"keys", InvalidIdentityToken, "Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity documentation for requirements"},
		{"unknown", InvalidIdentityToken, "No OpenIDConnect provider found in your account for "},
		{"x", ValidationError, "1 validation error detected: Value '***' at 'webIdentityToken' failed to satisfy constraint: Member must have length greater than or equal to 4"},
		{"", ValidationError, "1 validation error detected: Value null at 'webIdentityToken' failed to satisfy constraint: Member must not be null"},
	} {
		_, err := h.service.AssumeRoleWithWebIdentity(ctx, new(Call), &WebIdentityRequest{RoleARN: role.ARN, RoleSessionName: "session", WebIdentityToken: c.token})
		wantIdentityError(t, err, c.code, c.text)
	}
	_, err := h.service.AssumeRoleWithWebIdentity(ctx, new(Call), &WebIdentityRequest{RoleARN: roleARN(account, "none"), RoleSessionName: "session", WebIdentityToken: "good"})
	wantIdentityError(t, err, AccessDenied, "Not authorized to perform sts:AssumeRoleWithWebIdentity")
	_, err = h.service.AssumeRoleWithWebIdentity(ctx, new(Call), &WebIdentityRequest{RoleARN: roleARN(stranger, "app"), RoleSessionName: "session", WebIdentityToken: "good"})
	wantIdentityError(t, err, InvalidIdentityToken, "No OpenIDConnect provider found in your account for ")
	h.service.web = nil
	_, err = h.service.AssumeRoleWithWebIdentity(ctx, new(Call), &WebIdentityRequest{RoleARN: role.ARN, RoleSessionName: "session", WebIdentityToken: "good"})
	if !errors.Is(err, InvalidIdentityToken) || !strings.Contains(err.Error(), "No OpenIDConnect provider") {
		t.Errorf("without issuers: %v", err)
	}
}
