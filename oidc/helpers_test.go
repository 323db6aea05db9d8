package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const testAccount = "111122223333"

// start is when the clock of these tests starts.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// issuer is an OpenID Connect issuer on a loopback address.
type issuer struct {
	server *httptest.Server

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	fetches int
	broken  bool   // answers 500
	says    string // the issuer in the discovery document, if it is another
	jwksURI string // likewise
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	i := &issuer{}
	i.server = httptest.NewServer(http.HandlerFunc(i.serve))
	t.Cleanup(i.server.Close)
	return i
}

func (i *issuer) serve(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.broken {
		http.Error(w, "broken", http.StatusInternalServerError)
		return
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		i.fetches++
		says, uri := i.server.URL, i.server.URL+"/keys"
		if i.says != "" {
			says = i.says
		}
		if i.jwksURI != "" {
			uri = i.jwksURI
		}
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, says, uri)
	case "/keys":
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: i.keys})
	default:
		http.NotFound(w, r)
	}
}

func (i *issuer) set(change func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change()
}

func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches
}

// signer is a private key with its name.
type signer struct {
	id        string
	key       crypto.Signer
	algorithm jose.SignatureAlgorithm
}

func (s signer) public() jose.JSONWebKey {
	return jose.JSONWebKey{Key: s.key.Public(), KeyID: s.id, Algorithm: string(s.algorithm), Use: "sig"}
}

func rsaSigner(t testing.TB, id string, bits int) signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return signer{id, key, jose.RS256}
}

func ecSigner(t testing.TB, id string) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer{id, key, jose.ES256}
}

// sign makes a token. Its header names the key unless the key has no name.
func (s signer) sign(t testing.TB, claims any) string {
	t.Helper()
	options := &jose.SignerOptions{}
	if s.id != "" {
		options = options.WithHeader("kid", s.id)
	}
	made, err := jose.NewSigner(jose.SigningKey{Algorithm: s.algorithm, Key: s.key}, options)
	if err != nil {
		t.Fatal(err)
	}
	payload, ok := claims.(string)
	if !ok {
		text, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		payload = string(text)
	}
	signed, err := made.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

type in = map[string]any

// good are the claims of a good token, with changes; nil takes a claim away.
func good(issuer string, changes in) in {
	c := in{"iss": issuer, "sub": "system:serviceaccount:default:app", "aud": "sts.amazonaws.com", "iat": start.Unix(), "exp": start.Add(time.Hour).Unix()}
	for name, value := range changes {
		if c[name] = value; value == nil {
			delete(c, name)
		}
	}
	return c
}
