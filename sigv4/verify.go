package sigv4

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// DefaultMaxSkew is how far AWS lets a request's time be from its own, either way.
const DefaultMaxSkew = 5 * time.Minute

// A Credential is what a server knows of an access key. It prints without its secrets.
type Credential struct {
	Secret       string    // the secret access key
	SessionToken string    // "" for a long-term key
	Expires      time.Time // the zero time for a key that does not expire
	Value        any       // the principal, opaque to this package
}

func (Credential) String() string   { return "sigv4.Credential(***)" }
func (Credential) GoString() string { return "sigv4.Credential(***)" }

// Lookup finds the credential of an access key ID. It returns ErrUnknownKey, wrapped or not,
// when there is none; any other error is the server's trouble and reaches Verify's caller. The
// ID is a part of the request's header: clone it to keep it. Must be safe for concurrent use.
type Lookup func(ctx context.Context, accessKeyID string) (Credential, error)

// SessionLookup finds the credential of an access key ID that comes with a session token, as Lookup
// does. It answers for the token: the credential's SessionToken does not count. Both are parts of the
// request's header: clone them to keep them. The request is there for its context and for where it
// came from. Must be safe for concurrent use.
type SessionLookup func(r *http.Request, accessKeyID, token string) (Credential, error)

// Config says what a Verifier accepts.
type Config struct {
	Service  string                   // of the credential scope, such as "kms"
	Lookup   Lookup                   // required
	Session  SessionLookup            // nil: Lookup is asked, and its SessionToken compared
	RegionOK func(region string) bool // which Regions of the scope are served; required
	Now      func() time.Time         // nil for time.Now
	MaxSkew  time.Duration            // 0 for DefaultMaxSkew
}

// A Verifier checks the signatures of requests to one service. It is safe for concurrent use.
// It keeps up to 4096 signing keys, each used only while its secret is the one that Lookup
// gives: a changed or withdrawn secret counts from the next request on.
type Verifier struct {
	config Config
	keys   keyCache
	decoy  *signingKey // checks the requests of unknown keys, which then fail like any other
}

// NewVerifier makes a Verifier. It panics if Service, Lookup or RegionOK is missing.
func NewVerifier(config Config) *Verifier {
	if config.Service == "" || config.Lookup == nil || config.RegionOK == nil {
		panic("sigv4: Service, Lookup and RegionOK are required")
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.MaxSkew == 0 {
		config.MaxSkew = DefaultMaxSkew
	}
	return &Verifier{config: config, decoy: newSigningKey(rand.Text(), "", "", config.Service)}
}

// Result is who signed a request.
type Result struct {
	AccessKeyID string
	Region      string // of the credential scope
	Credential  Credential
}

// Verify checks the signature of a request as received by net/http's server; body is all of its
// body, already read. A refusal is an [*Error]; any other error is one of Lookup's, wrapped.
// r is not changed. Signature and session token are compared in constant time.
func (v *Verifier) Verify(r *http.Request, body []byte) (Result, error) {
	auth, timestamp, err := v.read(r)
	if err != nil {
		return Result{}, err
	}
	known := true
	cred, err := v.lookUp(r, auth.AccessKeyID)
	if errors.Is(err, ErrUnknownKey) {
		known = false
	} else if err != nil {
		return Result{}, fmt.Errorf("sigv4: look up access key: %w", err)
	}

	scope := scope{auth.AccessKeyID, auth.Date, auth.Region}
	key, cached := v.decoy, true
	if known {
		if key = v.keys.get(scope, cred.Secret); key == nil {
			key, cached = newSigningKey(cred.Secret, auth.Date, auth.Region, v.config.Service), false
		}
	}
	signed := v.matches(r, body, &auth, timestamp, key)
	switch {
	case !known, !sameToken(r.Header["X-Amz-Security-Token"], cred.SessionToken):
		return Result{}, refuse(UnrecognizedClient, textUnrecognized)
	case !signed:
		return Result{}, refuse(InvalidSignature, textMismatch)
	case !cred.Expires.IsZero() && !v.config.Now().Before(cred.Expires):
		return Result{}, refuse(ExpiredToken, textExpired)
	}
	if !cached {
		v.keys.put(scope, key)
	}
	return Result{AccessKeyID: auth.AccessKeyID, Region: auth.Region, Credential: cred}, nil
}

// Screen refuses what Verify would refuse whatever the body is, with the same error: before a body is read
// that takes memory. What it lets pass is not verified.
func (v *Verifier) Screen(r *http.Request) error {
	auth, _, err := v.read(r)
	if err != nil {
		return err
	}
	cred, err := v.lookUp(r, auth.AccessKeyID)
	switch {
	case errors.Is(err, ErrUnknownKey):
		return refuse(UnrecognizedClient, textUnrecognized)
	case err != nil:
		return fmt.Errorf("sigv4: look up access key: %w", err)
	case !sameToken(r.Header["X-Amz-Security-Token"], cred.SessionToken):
		return refuse(UnrecognizedClient, textUnrecognized)
	}
	return nil
}

// lookUp finds the credential that a request says it is signed with.
func (v *Verifier) lookUp(r *http.Request, accessKeyID string) (Credential, error) {
	tokens := r.Header["X-Amz-Security-Token"]
	if v.config.Session == nil || len(tokens) != 1 {
		return v.config.Lookup(r.Context(), accessKeyID)
	}
	cred, err := v.config.Session(r, accessKeyID, tokens[0])
	cred.SessionToken = tokens[0]
	return cred, err
}

// read checks all that needs no credential and gives the request's time as in the string to sign.
func (v *Verifier) read(r *http.Request) (auth Authorization, timestamp string, err error) {
	headers := r.Header["Authorization"]
	if len(headers) == 0 {
		return auth, "", refuse(MissingAuthenticationToken, textMissing)
	}
	if len(headers) > 1 {
		return auth, "", refuse(IncompleteSignature, "The request has more than one Authorization header.")
	}
	p, err := scan(headers[0])
	if err != nil {
		return auth, "", err
	}
	missing := p.missing()
	if len(r.Header["X-Amz-Date"]) == 0 && len(r.Header["Date"]) == 0 {
		missing += "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
	}
	if missing != "" {
		return auth, "", lacking(missing, headers[0])
	}
	timestamp, err = v.timestamp(r.Header)
	if err != nil {
		return auth, "", err
	}
	if auth, err = p.authorization(); err != nil {
		return auth, "", err
	}
	if !auth.Signs(hostHeader) && !auth.Signs(authorityHeader) {
		return auth, "", refuse(InvalidSignature, textHost)
	}
	for _, header := range mustBeSigned {
		if len(r.Header[header.canonical]) > 0 && !auth.Signs(header.lower) {
			return auth, "", refuse(InvalidSignature, "'"+header.canonical+"' must be a 'SignedHeader' in the AWS Authorization.")
		}
	}
	return auth, timestamp, v.checkScope(&auth, timestamp)
}

// checkScope compares the credential scope with the request; AWS names every fault at once.
func (v *Verifier) checkScope(auth *Authorization, timestamp string) error {
	var text string
	if !v.config.RegionOK(auth.Region) {
		text += "Credential should be scoped to a valid region, not '" + shown(auth.Region) + "'. "
	}
	if auth.Service != v.config.Service {
		text += "Credential should be scoped to correct service: '" + v.config.Service + "'. "
	}
	if auth.Terminator != terminator {
		text += "Credential should be scoped with a valid terminator: '" + terminator + "', not '" + shown(auth.Terminator) + "'. "
	}
	if date := timestamp[:len("20060102")]; auth.Date != date {
		text += "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '" +
			shown(auth.Date) + "' != '" + date + "', from '" + timestamp + "'. "
	}
	if text != "" {
		return refuse(InvalidSignature, text)
	}
	return nil
}

// buffers are for the canonical request, then the string to sign.
var buffers = sync.Pool{New: func() any { return new(make([]byte, 0, 2048)) }}

// maxPooledBuffer keeps one huge request from holding its memory for ever.
const maxPooledBuffer = 64 << 10

// matches reports whether the request's signature is the one that key makes.
func (v *Verifier) matches(r *http.Request, body []byte, auth *Authorization, timestamp string, key *signingKey) bool {
	bodyHash := hexSHA256(body)
	hashOK := sameHash(r.Header["X-Amz-Content-Sha256"], bodyHash[:])

	pooled := buffers.Get().(*[]byte)
	buf := appendCanonicalRequest((*pooled)[:0], r, auth.SignedHeaders, bodyHash[:])
	requestHash := hexSHA256(buf)
	buf = appendStringToSign(buf[:0], timestamp, auth.Date, auth.Region, auth.Service, requestHash[:])
	want := key.sign(buf)
	if cap(buf) <= maxPooledBuffer {
		*pooled = buf
		buffers.Put(pooled)
	}

	var got [len(want)]byte
	copy(got[:], auth.Signature)
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1 && len(auth.Signature) == len(want) && hashOK
}

func hexSHA256(data []byte) (digits [2 * sha256.Size]byte) {
	sum := sha256.Sum256(data)
	hex.Encode(digits[:], sum[:])
	return digits
}

func appendStringToSign(dst []byte, timestamp, date, region, service string, requestHash []byte) []byte {
	dst = append(dst, algorithm...)
	dst = append(dst, '\n')
	dst = append(dst, timestamp...)
	dst = append(dst, '\n')
	dst = appendScope(dst, date, region, service)
	dst = append(dst, '\n')
	return append(dst, requestHash...)
}

func appendScope(dst []byte, date, region, service string) []byte {
	for _, part := range [...]string{date, region, service} {
		dst = append(dst, part...)
		dst = append(dst, '/')
	}
	return append(dst, terminator...)
}

// sameHash reports whether the X-Amz-Content-Sha256 header, if there is one, is the body's hash.
func sameHash(header []string, bodyHash []byte) bool {
	return len(header) == 0 || len(header) == 1 && header[0] == string(bodyHash)
}

// sameToken reports whether the request carries the credential's session token, or none if it
// has none.
func sameToken(header []string, token string) bool {
	if len(header) == 0 {
		return token == ""
	}
	return len(header) == 1 && token != "" && subtle.ConstantTimeCompare([]byte(header[0]), []byte(token)) == 1
}
