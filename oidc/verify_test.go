package oidc

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/kms11/kms11/testkit"
)

func newVerifier(t testing.TB, now func() time.Time, providers ...Provider) *Verifier {
	t.Helper()
	v, err := New(providers, now)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// TestTokens takes good tokens and every kind of bad one to an issuer with an RSA and an elliptic-curve
// key.
func TestTokens(t *testing.T) {
	i := newIssuer(t)
	one, two := rsaSigner(t, "one", 2048), ecSigner(t, "two")
	weak := rsaSigner(t, "weak", 1024)
	i.keys = []jose.JSONWebKey{one.public(), two.public(), weak.public()}
	at := testkit.NewClock(start)
	v := newVerifier(t, at.Now, Provider{Account: testAccount, Issuer: i.server.URL, Audiences: []string{"other", "sts.amazonaws.com"}})
	iss := i.server.URL
	stranger := rsaSigner(t, "one", 2048)
	unnamed := two
	unnamed.id = ""

	// A token that says that it needs no signature, and one that is signed with the public key as if
	// that were a secret.
	claims, err := json.Marshal(good(iss, nil))
	if err != nil {
		t.Fatal(err)
	}
	none := encode(`{"alg":"none"}`) + "." + encode(string(claims)) + "."
	der, err := x509.MarshalPKIXPublicKey(one.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	signed := encode(`{"alg":"HS256","kid":"one"}`) + "." + encode(string(claims))
	mac := hmac.New(sha256.New, der)
	mac.Write([]byte(signed))
	hmacked := signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	fine := two.sign(t, good(iss, nil))
	parts := strings.Split(fine, ".")

	for name, c := range map[string]struct {
		account, token string
		want           error
	}{
		"RSA":                     {testAccount, one.sign(t, good(iss, nil)), nil},
		"elliptic curve":          {testAccount, fine, nil},
		"no key id":               {testAccount, unnamed.sign(t, good(iss, nil)), nil},
		"several audiences":       {testAccount, one.sign(t, good(iss, in{"aud": []string{"x", "sts.amazonaws.com"}})), nil},
		"authorised party":        {testAccount, one.sign(t, good(iss, in{"aud": "x", "azp": "other"})), nil},
		"issued just ahead":       {testAccount, one.sign(t, good(iss, in{"iat": start.Add(4 * time.Minute).Unix()})), nil},
		"expires in a second":     {testAccount, one.sign(t, good(iss, in{"exp": start.Add(time.Second).Unix()})), nil},
		"fractions of seconds":    {testAccount, one.sign(t, good(iss, in{"iat": float64(start.Unix()) - 0.5})), nil},
		"another account":         {"444455556666", fine, ErrIssuer},
		"another issuer":          {testAccount, one.sign(t, good("https://example.com", nil)), ErrIssuer},
		"no issuer":               {testAccount, one.sign(t, good(iss, in{"iss": nil})), ErrIssuer},
		"another audience":        {testAccount, one.sign(t, good(iss, in{"aud": "x"})), ErrAudience},
		"another party":           {testAccount, one.sign(t, good(iss, in{"azp": "x"})), ErrAudience},
		"no audience":             {testAccount, one.sign(t, good(iss, in{"aud": nil})), ErrClaims},
		"no audiences":            {testAccount, one.sign(t, good(iss, in{"aud": []string{}})), ErrClaims},
		"an empty audience":       {testAccount, one.sign(t, good(iss, in{"aud": []string{"", "sts.amazonaws.com"}})), ErrClaims},
		"no subject":              {testAccount, one.sign(t, good(iss, in{"sub": nil})), ErrClaims},
		"no end":                  {testAccount, one.sign(t, good(iss, in{"exp": nil})), ErrClaims},
		"no beginning":            {testAccount, one.sign(t, good(iss, in{"iat": nil})), ErrClaims},
		"expired":                 {testAccount, one.sign(t, good(iss, in{"exp": start.Unix()})), ErrExpired},
		"issued in the future":    {testAccount, one.sign(t, good(iss, in{"iat": start.Add(6 * time.Minute).Unix()})), ErrNotYet},
		"not yet":                 {testAccount, one.sign(t, good(iss, in{"nbf": start.Add(6 * time.Minute).Unix()})), ErrNotYet},
		"a stranger's key":        {testAccount, stranger.sign(t, good(iss, nil)), ErrSignature},
		"a key that is not there": {testAccount, rsaSigner(t, "three", 2048).sign(t, good(iss, nil)), ErrSignature},
		"a key that is too short": {testAccount, weak.sign(t, good(iss, nil)), ErrSignature},
		"an unnamed stranger":     {testAccount, ecSigner(t, "").sign(t, good(iss, nil)), ErrSignature},
		"other claims":            {testAccount, parts[0] + "." + encode(string(claims)+" ") + "." + parts[2], ErrSignature},
		"no signature":            {testAccount, parts[0] + "." + parts[1] + ".", ErrSignature},
		"algorithm none":          {testAccount, none, ErrMalformed},
		"HMAC with the key":       {testAccount, hmacked, ErrMalformed},
		"no token":                {testAccount, "", ErrMalformed},
		"no JWT":                  {testAccount, "ya29.access-token", ErrMalformed},
		"four parts":              {testAccount, fine + ".x", ErrMalformed},
		"claims that are a list":  {testAccount, one.sign(t, `[]`), ErrMalformed},
		"claims that are no JSON": {testAccount, one.sign(t, `{`), ErrMalformed},
		"an end that is a text":   {testAccount, one.sign(t, good(iss, in{"exp": "soon"})), ErrMalformed},
		"an end that cannot be":   {testAccount, one.sign(t, good(iss, in{"exp": 1e300})), ErrMalformed},
		"too long":                {testAccount, strings.Repeat("x", maxToken) + ".x.x", ErrMalformed},
	} {
		token, err := v.Verify(t.Context(), c.account, c.token)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
		if (token == nil) != (err != nil) {
			t.Errorf("%s: got %+v with %v", name, token, err)
		}
	}
	token, err := v.Verify(t.Context(), testAccount, one.sign(t, good(iss, in{"aud": []string{"x", "other"}, "amr": "pwd"})))
	if err != nil || token.Subject != "system:serviceaccount:default:app" || token.Audience != "other" ||
		!reflect.DeepEqual(token.Audiences, []string{"x", "other"}) || !reflect.DeepEqual(token.AMR, []string{"pwd"}) ||
		token.Provider.Name() != strings.TrimPrefix(iss, "http://") {
		t.Errorf("got %+v, %v", token, err)
	}
	var expired *ExpiredError
	_, err = v.Verify(t.Context(), testAccount, one.sign(t, good(iss, in{"exp": start.Add(-time.Second).Unix()})))
	if !errors.As(err, &expired) || !expired.Now.Equal(start) || !expired.Expired.Equal(start.Add(-time.Second)) {
		t.Errorf("got %v", err)
	}
	if got := Issuer(one.sign(t, good("https://example.com/x", nil))); got != "https://example.com/x" {
		t.Errorf("the issuer is shown as %q", got)
	}
	if got := Issuer(one.sign(t, good("<script>", nil))) + Issuer("x"); got != "" {
		t.Errorf("the issuer is shown as %q", got)
	}
}

// TestKeysAreFetchedWhenNeeded counts what the issuer is asked for.
func TestKeysAreFetchedWhenNeeded(t *testing.T) {
	i := newIssuer(t)
	old, next := ecSigner(t, "old"), ecSigner(t, "next")
	i.keys = []jose.JSONWebKey{old.public()}
	at := testkit.NewClock(start)
	v := newVerifier(t, at.Now, Provider{Account: testAccount, Issuer: i.server.URL, Audiences: []string{"sts.amazonaws.com"}})
	check := func(s signer, want error, fetches int) {
		t.Helper()
		token := s.sign(t, good(i.server.URL, in{"exp": start.Add(100 * time.Hour).Unix()}))
		if _, err := v.Verify(t.Context(), testAccount, token); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("got %v, want %v", err, want)
		}
		if n := i.count(); n != fetches {
			t.Errorf("%d fetches, want %d", n, fetches)
		}
	}
	check(old, nil, 1)
	check(old, nil, 1)
	check(next, ErrSignature, 1) // asked for just now
	i.set(func() { i.keys = append(i.keys, next.public()) })
	check(next, ErrSignature, 1)
	at.Advance(refetchAfter)
	check(next, nil, 2)
	check(old, nil, 2)
	for range 5 { // made-up names are no stream of requests
		check(ecSigner(t, "made up"), ErrSignature, 2)
	}
	// The issuer withdraws a key: it counts until the keys are fetched again.
	i.set(func() { i.keys = i.keys[1:] })
	check(old, nil, 2)
	at.Advance(refetchAfter)
	check(ecSigner(t, "made up"), ErrSignature, 3)
	check(old, ErrSignature, 3)
	// The issuer is away: the keys last a day.
	i.set(func() { i.broken = true })
	at.Advance(keysLast - time.Second)
	source := v.providers[[2]string{testAccount, i.server.URL}]
	check(next, nil, 3)
	source.work.Wait() // for the fetch that began
	at.Advance(time.Hour)
	check(next, ErrKeys, 3)
	i.set(func() { i.broken = false })
	at.Advance(refetchAfter)
	check(next, nil, 4)
}

// TestIssuersThatLie serves discovery documents and keys that must not be believed.
func TestIssuersThatLie(t *testing.T) {
	for name, lie := range map[string]func(*issuer){
		"another issuer":    func(i *issuer) { i.says = "https://example.com" },
		"keys over http":    func(i *issuer) { i.jwksURI = "http://192.0.2.1/keys" },
		"keys from a file":  func(i *issuer) { i.jwksURI = "file:///etc/passwd" },
		"no keys":           func(i *issuer) { i.keys = nil },
		"keys not there":    func(i *issuer) { i.jwksURI = i.server.URL + "/none" },
		"too many keys":     func(i *issuer) { i.keys = make([]jose.JSONWebKey, 0); fill(i, maxKeys+1) },
		"internal trouble":  func(i *issuer) { i.broken = true },
		"only private keys": func(i *issuer) { i.keys[0].Key = ecSigner(t, "x").key },
	} {
		i := newIssuer(t)
		s := ecSigner(t, "one")
		i.keys = []jose.JSONWebKey{s.public()}
		i.set(func() { lie(i) })
		v := newVerifier(t, testkit.NewClock(start).Now, Provider{Account: testAccount, Issuer: i.server.URL, Audiences: []string{"sts.amazonaws.com"}})
		if _, err := v.Verify(t.Context(), testAccount, s.sign(t, good(i.server.URL, nil))); !errors.Is(err, ErrKeys) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func fill(i *issuer, n int) {
	one := jose.JSONWebKey{Key: []byte("x"), KeyID: "x"}
	for range n {
		i.keys = append(i.keys, one)
	}
}

// TestKeysFromAFile changes the file that holds the keys.
func TestKeysFromAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "jwks.json")
	write := func(keys ...jose.JSONWebKey) {
		t.Helper()
		text, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	one, two := ecSigner(t, "one"), rsaSigner(t, "a longer name", 2048)
	write(one.public())
	const iss = "https://oidc.example.com/cluster/1"
	v := newVerifier(t, testkit.NewClock(start).Now, Provider{Account: testAccount, Issuer: iss, Audiences: []string{"sts.amazonaws.com"}, JWKSFile: file})
	verify := func(s signer) error {
		_, err := v.Verify(t.Context(), testAccount, s.sign(t, good(iss, nil)))
		return err
	}
	if err := verify(one); err != nil {
		t.Errorf("got %v", err)
	}
	if err := verify(two); !errors.Is(err, ErrSignature) {
		t.Errorf("got %v", err)
	}
	write(two.public())
	if err := verify(two); err != nil {
		t.Errorf("a new key does not count: %v", err)
	}
	if err := verify(one); !errors.Is(err, ErrSignature) {
		t.Errorf("a key that was taken away counts: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := verify(two); err != nil {
		t.Errorf("the keys went with the file: %v", err)
	}
}

// TestProviders refuses settings that would not be safe.
func TestProviders(t *testing.T) {
	good := Provider{Account: testAccount, Issuer: "https://example.com", Audiences: []string{"a"}}
	for name, change := range map[string]func(*Provider){
		"no account":       func(p *Provider) { p.Account = "" },
		"plain http":       func(p *Provider) { p.Issuer = "http://example.com" },
		"a name as if":     func(p *Provider) { p.Issuer = "http://127.0.0.1.example.com" },
		"no URL":           func(p *Provider) { p.Issuer = "example.com" },
		"a query":          func(p *Provider) { p.Issuer = "https://example.com?x" },
		"a user":           func(p *Provider) { p.Issuer = "https://me@example.com" },
		"no audience":      func(p *Provider) { p.Audiences = nil },
		"an empty one":     func(p *Provider) { p.Audiences = []string{""} },
		"a missing CA":     func(p *Provider) { p.CAFile = "none.pem" },
		"a missing file":   func(p *Provider) { p.JWKSFile = "none.json" },
		"too long a name":  func(p *Provider) { p.Issuer += "/" + strings.Repeat("x", 250) },
		"another protocol": func(p *Provider) { p.Issuer = "ftp://example.com" },
	} {
		p := good
		change(&p)
		if _, err := New([]Provider{p}, nil); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if _, err := New([]Provider{good, good}, nil); err == nil {
		t.Error("a provider was taken twice")
	}
	other := good
	other.Account = "444455556666"
	if _, err := New([]Provider{good, other}, nil); err != nil {
		t.Errorf("one issuer for two accounts: %v", err)
	}
}

// TestIssuersLeadToNoPlainHTTP: what an issuer elsewhere says, in its discovery document or by a
// redirect, cannot make the server ask plain HTTP of this machine.
func TestIssuersLeadToNoPlainHTTP(t *testing.T) {
	const local, elsewhere = "http://127.0.0.1:1234", "https://example.com"
	for _, c := range []struct {
		issuer, leads string
		ok            bool
	}{
		{elsewhere, elsewhere, true}, {elsewhere, "https://127.0.0.1", true}, {elsewhere, local, false}, {elsewhere, "http://localhost", false},
		{local, local, true}, {local, elsewhere, true}, {local, "http://192.0.2.1", false},
	} {
		s, err := newSource(&Provider{Account: testAccount, Issuer: c.issuer, Audiences: []string{"a"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.reachable(c.leads + "/keys"); (err == nil) != c.ok {
			t.Errorf("%s leads to %s: %v", c.issuer, c.leads, err)
		}
		r, err := http.NewRequest(http.MethodGet, c.leads+"/keys", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.client.CheckRedirect(r, nil); (err == nil) != c.ok {
			t.Errorf("%s redirects to %s: %v", c.issuer, c.leads, err)
		}
	}
}

// TestClaimsByTheirVeryNames: a claim whose name differs by case from one that counts is another claim.
func TestClaimsByTheirVeryNames(t *testing.T) {
	i := newIssuer(t)
	s := ecSigner(t, "one")
	i.keys = []jose.JSONWebKey{s.public()}
	v := newVerifier(t, testkit.NewClock(start).Now, Provider{Account: testAccount, Issuer: i.server.URL, Audiences: []string{"sts.amazonaws.com"}})
	claims := good(i.server.URL, in{"SUB": "admin", "Aud": "other", "AZP": "other", "EXP": 1, "ISS": "https://example.com", "\u017fub": "admin", "zSub": "admin"})
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	// Whichever comes last must not win either.
	for _, payload := range []string{string(text), strings.TrimSuffix(string(text), "}") + `,"Sub":"admin","AUD":["other"]}`} {
		got, err := v.Verify(t.Context(), testAccount, s.sign(t, payload))
		if err != nil {
			t.Fatal(err)
		}
		if got.Subject != claims["sub"] || got.Audience != "sts.amazonaws.com" || len(got.Audiences) != 1 {
			t.Errorf("the token says %+v", got)
		}
	}
	without := good(i.server.URL, in{"sub": nil, "SUB": "admin"})
	if _, err := v.Verify(t.Context(), testAccount, s.sign(t, without)); !errors.Is(err, ErrClaims) {
		t.Errorf("a token with SUB and no sub: %v", err)
	}
}

// TestIssuersHaveNamesOfTheirOwn: two issuers that a trust policy cannot tell apart are refused.
func TestIssuersHaveNamesOfTheirOwn(t *testing.T) {
	provider := func(account, issuer string) Provider {
		return Provider{Account: account, Issuer: issuer, Audiences: []string{"a"}}
	}
	for _, c := range []struct {
		one, two Provider
		ok       bool
	}{
		{provider(testAccount, "https://example.com"), provider(testAccount, "https://example.com/"), false},
		{provider(testAccount, "https://localhost:1"), provider(testAccount, "http://localhost:1"), false},
		{provider(testAccount, "https://example.com/a"), provider(testAccount, "https://example.com/A"), false},
		{provider(testAccount, "https://example.com"), provider("999988887777", "https://example.com/"), true},
		{provider(testAccount, "https://example.com/a"), provider(testAccount, "https://example.com/b"), true},
	} {
		if _, err := New([]Provider{c.one, c.two}, nil); (err == nil) != c.ok {
			t.Errorf("%s and %s: %v", c.one.Issuer, c.two.Issuer, err)
		}
	}
}
