package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"hash"
	"strings"
	"sync"
)

// maxCachedKeys bounds a Verifier's cache of signing keys. An entry is about 700 bytes.
const maxCachedKeys = 4096

// signingKey is the key of one access key, date, Region and service, ready for use.
type signingKey struct {
	secret string    // that it was derived from
	macs   sync.Pool // of hash.Hash: HMAC-SHA-256 under the key, so that no request sets one up
}

// newSigningKey derives a key as "Create a signed AWS API request", step 4.
func newSigningKey(secret, date, region, service string) *signingKey {
	key := sum([]byte("AWS4"+secret), date)
	for _, part := range [...]string{region, service, terminator} {
		key = sum(key, part)
	}
	k := &signingKey{secret: secret}
	k.macs.New = func() any { return hmac.New(sha256.New, key) }
	return k
}

func sum(key []byte, message string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(message))
	return mac.Sum(nil)
}

// sign gives the signature of stringToSign as lower-case hex.
func (k *signingKey) sign(stringToSign []byte) (signature [2 * sha256.Size]byte) {
	mac := k.macs.Get().(hash.Hash)
	mac.Reset()
	mac.Write(stringToSign)
	var raw [sha256.Size]byte
	hex.Encode(signature[:], mac.Sum(raw[:0]))
	k.macs.Put(mac)
	return signature
}

// madeFrom reports whether k was derived from secret.
func (k *signingKey) madeFrom(secret string) bool {
	return subtle.ConstantTimeCompare([]byte(k.secret), []byte(secret)) == 1
}

// scope is what a cached key is found by; the service is the Verifier's.
type scope struct{ accessKeyID, date, region string }

// keyCache holds signing keys that have verified a request: nobody without a secret can fill
// it. A key is used only while the secret is still the one it was derived from. Safe for
// concurrent use.
type keyCache struct {
	mu   sync.RWMutex
	keys map[scope]*signingKey
}

// get gives the cached key of s, or nil.
func (c *keyCache) get(s scope, secret string) *signingKey {
	c.mu.RLock()
	key := c.keys[s]
	c.mu.RUnlock()
	if key == nil || !key.madeFrom(secret) {
		return nil
	}
	return key
}

// put keeps key for s. A full cache starts anew: deriving a key again costs a few
// microseconds, and yesterday's keys go this way.
func (c *keyCache) put(s scope, key *signingKey) {
	// The strings are parts of a request's header, which must not stay alive for their sake.
	s = scope{strings.Clone(s.accessKeyID), strings.Clone(s.date), strings.Clone(s.region)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keys == nil || len(c.keys) >= maxCachedKeys {
		c.keys = make(map[scope]*signingKey)
	}
	c.keys[s] = key
}
