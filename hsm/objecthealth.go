package hsm

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/miekg/pkcs11"
)

// probeLabel is CKA_LABEL and CKA_ID of the key object that a token's health is tested with. It
// is AES-256, encrypts and decrypts, cannot leave the token, and protects nothing.
const probeLabel = "kms11 health test"

// TokenHealth is how one token is.
type TokenHealth struct {
	Serial, Manufacturer, Model string // as the token said when it last answered
	Took                        time.Duration
	Err                         error // nil: it is well
}

// tokenNames remembers what tokens are called, for the time when one does not answer.
type tokenNames struct{ last sync.Map } // *Token to pkcs11.TokenInfo

// check runs a test of a token and says how it went.
func (n *tokenNames) check(ctx context.Context, t *Token, test func(*conn) error) TokenHealth {
	begun := time.Now()
	err := t.with(ctx, func(c *conn) error {
		err := c.do(ctx, laneShort, func(s *session) error {
			info, err := s.tokenInfo()
			if err == nil {
				n.last.Store(t, info)
			}
			return err
		})
		if err != nil {
			return c.healthy(err)
		}
		return test(c)
	})
	h := TokenHealth{Serial: t.config.URI.Serial, Model: "unknown", Manufacturer: "unknown", Took: time.Since(begun), Err: err}
	if last, ok := n.last.Load(t); ok {
		info := last.(pkcs11.TokenInfo)
		h.Serial, h.Manufacturer = printable(info.SerialNumber), printable(info.ManufacturerID)
		h.Model = fmt.Sprintf("%s, firmware %d.%d", printable(info.Model), info.FirmwareVersion.Major, info.FirmwareVersion.Minor)
	}
	if h.Serial == "" {
		h.Serial = t.config.URI.Token
	}
	return h
}

// Fleet tests every token of the domain, with the domain key that rests in it, as Health does.
func (d *Domain) Fleet(ctx context.Context) []TokenHealth {
	var all []TokenHealth
	for _, m := range d.members() {
		all = append(all, d.names.check(ctx, m.token, func(*conn) error { return m.health(ctx) }))
	}
	return all
}

// ObjectTokens are tokens whose key objects are used. Its methods may be called by several
// goroutines at once.
type ObjectTokens struct {
	tokens []*Token
	names  tokenNames
	mu     sync.Mutex // guards keys
	keys   map[string]*ObjectKey
}

// NewObjectTokens takes the tokens in which key objects may be. They stay the caller's to close.
func NewObjectTokens(tokens []*Token) *ObjectTokens {
	return &ObjectTokens{tokens: tokens, keys: map[string]*ObjectKey{}}
}

// ErrNoToken: no configured token fits a PKCS #11 URI. It matches ErrNotFound.
var ErrNoToken = fmt.Errorf("%w: no configured token fits the PKCS#11 URI", ErrNotFound)

// token gives the one token that a URI names.
func (o *ObjectTokens) token(ctx context.Context, u URI) (*Token, error) {
	var found *Token
	var down error
	for _, t := range o.tokens {
		same, err := t.is(ctx, u)
		switch {
		case errors.Is(err, ErrTokenDown):
			down = err
		case err != nil:
			return nil, err
		case same && found != nil:
			return nil, errors.New("the PKCS#11 URI fits more than one of the configured tokens: add serial")
		case same:
			found = t
		}
	}
	if found != nil {
		return found, nil
	}
	if down != nil {
		return nil, down
	}
	return nil, ErrNoToken
}

// is says whether a URI names this token.
func (t *Token) is(ctx context.Context, u URI) (same bool, err error) {
	err = t.do(ctx, laneShort, func(s *session) error {
		info, err := s.tokenInfo()
		same = err == nil && u.matches(s.conn.slot, info)
		return err
	})
	return same, err
}

// Key gives the key object that a URI names, always the same one for the same URI.
func (o *ObjectTokens) Key(ctx context.Context, text string) (*ObjectKey, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if k, ok := o.keys[text]; ok {
		return k, nil
	}
	u, err := ParseURI(text)
	if err != nil {
		return nil, err
	}
	t, err := o.token(ctx, u)
	if err != nil {
		return nil, err
	}
	k, err := t.ObjectKey(u)
	if err != nil {
		return nil, err
	}
	for _, known := range o.keys { // the same object by another spelling: one count for both
		if known.token == t && known.label == k.label && bytes.Equal(known.id, k.id) {
			k = known
			break
		}
	}
	o.keys[text] = k
	return k, nil
}

// Generate makes a new key object: see Token.GenerateObjectKey.
func (o *ObjectTokens) Generate(ctx context.Context, text string) error {
	u, err := ParseURI(text)
	if err != nil {
		return err
	}
	t, err := o.token(ctx, u)
	if err != nil {
		return err
	}
	return t.GenerateObjectKey(ctx, u)
}

// Fleet tests the tokens, those that skip names left out: with a key object of its own, which it
// makes in a token where it is missing.
func (o *ObjectTokens) Fleet(ctx context.Context, skip *Domain) []TokenHealth {
	var all []TokenHealth
	for _, t := range o.tokens {
		if skip != nil && skip.holds(t) {
			continue
		}
		all = append(all, o.names.check(ctx, t, func(c *conn) error { return c.probe(ctx) }))
	}
	return all
}

// holds says whether a token is one of the domain's.
func (d *Domain) holds(t *Token) bool {
	for _, m := range d.members() {
		if m.token == t {
			return true
		}
	}
	return false
}

// probe encrypts and decrypts with the token's test key. The key is searched for each time: that,
// and not a handle, tells whether the token has its storage.
func (c *conn) probe(ctx context.Context) error {
	return c.do(ctx, laneHold, func(s *session) error {
		c.resting.Lock()
		defer c.resting.Unlock()
		found, err := s.findProbe()
		if err != nil {
			return c.healthy(err)
		}
		if len(found) == 0 {
			if _, err := s.generateObjectKey(URI{Object: probeLabel}); err != nil {
				return err
			}
			if found, err = s.findProbe(); err != nil || len(found) == 0 {
				return errors.Join(err, errors.New("the test key that was just made is not there"))
			}
		}
		return c.healthy(s.tryProbe(found[0]))
	})
}

// findProbe searches for the test key. One that this conn has seen and that is gone means that the
// token lost its storage, for which it is marked down: SoftHSM2 then answers searches with success
// and nothing. After the token is back, a missing test key is made again.
func (s *session) findProbe() ([]object, error) {
	found, err := s.find(1, []*attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(probeLabel)),
	})
	switch {
	case err != nil:
		return nil, err
	case len(found) > 0:
		s.conn.token.probed.Store(s.conn)
	case s.conn.token.probed.Load() == s.conn:
		return nil, fmt.Errorf("%w: its test key is gone", ErrWrongToken)
	}
	return found, nil
}

func (s *session) tryProbe(o object) error {
	iv, text := make([]byte, ivSize), make([]byte, 32)
	_, _ = rand.Read(iv) // crypto/rand never fails
	_, _ = rand.Read(text)
	sealed, err := s.sealGCM(o, iv, []byte(probeLabel), text)
	if err != nil {
		return err
	}
	back, err := s.openGCM(o, iv, []byte(probeLabel), sealed)
	if err == nil && !bytes.Equal(back, text) {
		err = errors.New("the test message does not come back as it was")
	}
	return err
}

// missing says why a search for a key object found nothing: ErrNotFound if the token is well.
func (s *session) missing() error {
	_, err := s.tokenInfo()
	if err == nil {
		_, err = s.findProbe()
	}
	if err != nil {
		return s.conn.healthy(err)
	}
	return fmt.Errorf("key object: %w", ErrNotFound)
}
