package oidc

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// FuzzToken feeds the verifier tokens, and the claims of a token whose signature is right. Whatever
// they hold, each is refused for one of the reasons, or is what it should be.
func FuzzToken(f *testing.F) {
	s := ecSigner(f, "one")
	file := filepath.Join(f.TempDir(), "jwks.json")
	text, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{s.public()}})
	if err != nil {
		f.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		f.Fatal(err)
	}
	const iss = "https://example.com"
	v := newVerifier(f, func() time.Time { return start }, Provider{Account: testAccount, Issuer: iss, Audiences: []string{"sts.amazonaws.com"}, JWKSFile: file})
	for _, changes := range []in{nil, {"aud": []string{"a", "sts.amazonaws.com"}}, {"exp": 1}, {"azp": "x"}, {"sub": 7}, {"exp": "x"}, {"iss": nil}} {
		claims, err := json.Marshal(good(iss, changes))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(s.sign(f, string(claims)), string(claims))
	}
	f.Add("", "{}")
	f.Add("..", "[]")
	f.Add(encode(`{"alg":"none"}`)+"."+encode(`{"iss":"https://example.com"}`)+".", `{"iss":"https://example.com","exp":1e9999}`)
	f.Add(encode(`{"alg":"ES256","jwk":{}}`)+".e30.e30", `{"iss":"https://example.com","aud":{}}`)
	reasons := []error{ErrMalformed, ErrIssuer, ErrAudience, ErrExpired, ErrNotYet, ErrSignature, ErrClaims}
	judge := func(t *testing.T, token string) {
		got, err := v.Verify(t.Context(), testAccount, token)
		if err == nil {
			if got.Provider.Issuer != iss || got.Subject == "" || got.Audience != "sts.amazonaws.com" {
				t.Errorf("%+v was taken", got)
			}
			return
		}
		for _, reason := range reasons {
			if errors.Is(err, reason) {
				if len(token) > 40 && strings.Contains(err.Error(), token[:40]) {
					t.Errorf("the error holds the token: %v", err)
				}
				return
			}
		}
		t.Errorf("refused for no known reason: %v", err)
	}
	f.Fuzz(func(t *testing.T, token, claims string) {
		judge(t, token)
		judge(t, s.sign(t, claims))
		_ = Issuer(token)
	})
}
