package hsm

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/pkcs11"
)

// An ObjectKey is an AES-256 key that is somebody else's: a persistent secret key that already is
// in a token, with what its owner lets it do. It is searched for once for each connection; its
// handle is kept, and where the token allows a copy as a session object is what encrypts, because
// that is several times cheaper. Every objectRecheck the original is looked at, so that one which
// its owner destroyed is not used for longer than that.
//
// Its methods may be called by several goroutines at once.
type ObjectKey struct {
	token *Token
	label string // CKA_LABEL; empty: any
	id    []byte // CKA_ID; nil: any
	// used counts messages in this process: their IVs are random (see directLimit).
	used atomic.Uint64
	held atomic.Pointer[heldObject]
	// finding lets one goroutine at a time search; it holds one.
	finding chan struct{}
}

// objectRecheck is how long a handle is used before the original is looked at again.
const objectRecheck = 5 * time.Second

// A heldObject is an ObjectKey on one conn.
type heldObject struct {
	conn    *conn
	resting object
	object  object       // its copy as a session object, or resting itself
	fact    ObjectFact   // of resting
	checked atomic.Int64 // when resting was last known to be there, in nanoseconds since 1970

	// mu is held for reading while object is used. A token may give the handle of an object that
	// was destroyed to another one.
	mu   sync.RWMutex
	gone bool
}

// ErrNotUsable: the object is there but is not an AES-256 key, or may not do what is asked.
var ErrNotUsable = errors.New("the key object cannot be used so")

// ErrNotOpened: the token does not decrypt what it encrypted.
var ErrNotOpened = errors.New("the token does not decrypt what it encrypted")

// An ObjectFact is what a token says of a key object.
type ObjectFact struct {
	Label string
	ID    []byte
	// Uses are PKCS#11's names of what the key may do, such as ENCRYPT and WRAP.
	Uses []string
	// Extractable says that the key may leave the token wrapped; Readable that its value can be
	// read.
	Extractable, Readable bool
	// Foreign says that the token did not make the key, or that it once could leave: what it is
	// worth depends on who had it.
	Foreign bool
}

// ObjectKey names a key object by the object (CKA_LABEL) and id (CKA_ID) of a URI, of which one has
// to be there. It does not look for it. Keep the ObjectKey: it counts messages.
func (t *Token) ObjectKey(u URI) (*ObjectKey, error) {
	if u.Object == "" && len(u.ID) == 0 {
		return nil, errors.New("the PKCS#11 URI of a key names it by object or id")
	}
	if u.Type != "" && u.Type != "secret-key" {
		return nil, fmt.Errorf("the PKCS#11 URI names a %s, not a secret-key", u.Type)
	}
	return &ObjectKey{token: t, label: u.Object, id: u.ID, finding: make(chan struct{}, 1)}, nil
}

// Fact is what the key was when it was last searched for, which was on the present connection; that
// it is still there is known as it is for Encrypt.
func (k *ObjectKey) Fact(ctx context.Context) (ObjectFact, error) {
	var fact ObjectFact
	err := k.token.with(ctx, func(c *conn) error {
		h, err := k.on(ctx, c)
		if err == nil {
			fact = h.fact
		}
		return err
	})
	return fact, err
}

// Encrypt encrypts plaintext with AES-256-GCM in the token under a random IV of 12 bytes.
func (k *ObjectKey) Encrypt(ctx context.Context, aad, plaintext []byte) (Sealed, error) {
	return k.encrypt(ctx, aad, plaintext, func(*session, object, Sealed) error { return nil })
}

// EncryptChecked is Encrypt that has the token decrypt the message before anybody else's call, and fails
// with ErrNotOpened if that does not give the plaintext. made gets the message before that; it may be
// called more than once, and the last call counts.
func (k *ObjectKey) EncryptChecked(ctx context.Context, aad, plaintext []byte, made func(Sealed)) (Sealed, error) {
	return k.encrypt(ctx, aad, plaintext, func(s *session, o object, sealed Sealed) error {
		made(sealed)
		s.again()
		back, err := s.openGCM(o, sealed.IV, aad, sealed.Ciphertext)
		defer clear(back)
		if errors.Is(err, ErrBadCiphertext) || err == nil && !bytes.Equal(back, plaintext) {
			return ErrNotOpened
		}
		return err
	})
}

// encrypt encrypts, and then does something with the message in the same session.
func (k *ObjectKey) encrypt(ctx context.Context, aad, plaintext []byte, then func(*session, object, Sealed) error) (Sealed, error) {
	if k.used.Add(1) > directLimit {
		return Sealed{}, errExhausted
	}
	sealed := Sealed{IV: make([]byte, ivSize)}
	_, _ = rand.Read(sealed.IV) // crypto/rand never fails
	err := k.use(ctx, func(s *session, o object) (err error) {
		if sealed.Ciphertext, err = s.sealGCM(o, sealed.IV, aad, plaintext); err != nil {
			return err
		}
		return then(s, o, sealed)
	})
	return sealed, err
}

// Decrypt opens a ciphertext of this key with the same aad. The IV may have 12 or 16 bytes: others
// who used the key may have made it. A ciphertext that was not made so gives an error that matches
// ErrBadCiphertext.
func (k *ObjectKey) Decrypt(ctx context.Context, sealed Sealed, aad []byte) ([]byte, error) {
	if len(sealed.IV) != ivSize && len(sealed.IV) != longIVSize || len(sealed.Ciphertext) < tagSize {
		return nil, fmt.Errorf("%w: impossible length", ErrBadCiphertext)
	}
	var plaintext []byte
	err := k.use(ctx, func(s *session, o object) (err error) {
		plaintext, err = s.openGCM(o, sealed.IV, aad, sealed.Ciphertext)
		return err
	})
	return plaintext, err
}

// use runs fn with the key's handle. One that went with its object is looked up again once.
func (k *ObjectKey) use(ctx context.Context, fn func(*session, object) error) error {
	return k.token.with(ctx, func(c *conn) error {
		err := errGone
		for range maxGone {
			h, findErr := k.on(ctx, c)
			if findErr != nil {
				return findErr
			}
			if err = h.use(ctx, fn); err == nil {
				return nil
			} else if classOf(err) == classHandleLost {
				k.forget(h)
			} else if !errors.Is(err, errGone) {
				break
			}
		}
		if classOf(err) == classHandleLost {
			return fmt.Errorf("key object: %v", err) // not as a lost handle, which would cost all others
		}
		// The key is an AES key, so the latter, which is NSS's word, does not mean that it is not.
		if isCode(err, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED) || isCode(err, pkcs11.CKR_KEY_TYPE_INCONSISTENT) {
			return fmt.Errorf("%w: %w", ErrNotUsable, err)
		}
		return err
	})
}

// maxGone bounds how often one call follows a handle that others gave up.
const maxGone = 3

var errGone = errors.New("key object: its handle was given up meanwhile")

// use runs fn with the object unless it is gone.
func (h *heldObject) use(ctx context.Context, fn func(*session, object) error) error {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.gone {
		return errGone
	}
	return h.conn.do(ctx, laneShort, func(s *session) error { return fn(s, h.object) })
}

// on gives the key's handle on c.
func (k *ObjectKey) on(ctx context.Context, c *conn) (*heldObject, error) {
	if h := k.held.Load(); h != nil && h.conn == c && !h.due() {
		return h, nil
	}
	select {
	case k.finding <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-k.finding }()
	if h := k.held.Load(); h != nil && h.conn == c {
		if !h.due() || k.recheck(ctx, h) {
			return h, nil
		}
		k.forget(h)
	}
	var h *heldObject
	err := c.do(ctx, laneHold, func(s *session) error {
		c.resting.Lock()
		defer c.resting.Unlock()
		o, err := k.find(s)
		if err != nil {
			return err
		}
		fact, err := s.objectFact(o)
		if err != nil {
			return err
		}
		used, err := s.sessionCopy(o, func(c object) (object, error) { return s.harden(c) })
		h = &heldObject{conn: c, resting: o, object: used, fact: fact}
		return err
	})
	if err != nil {
		return nil, err
	}
	h.checked.Store(time.Now().UnixNano())
	k.held.Store(h)
	return h, nil
}

// due says whether it is time to look at the original.
func (h *heldObject) due() bool {
	return time.Since(time.Unix(0, h.checked.Load())) >= objectRecheck
}

// recheck says whether the original is still there. Only an answer that it is not counts: a token
// that is out of order is not noticed here.
func (k *ObjectKey) recheck(ctx context.Context, h *heldObject) bool {
	err := h.conn.do(ctx, laneShort, func(s *session) error {
		_, err := s.attributes(h.resting, pkcs11.CKA_ID)
		return err
	})
	if classOf(err) == classHandleLost {
		return false
	}
	h.checked.Store(time.Now().UnixNano())
	return true
}

// forget gives up a handle, and the copy with it.
func (k *ObjectKey) forget(h *heldObject) {
	k.held.CompareAndSwap(h, nil)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone || h.object == h.resting {
		h.gone = true
		return
	}
	h.gone = true
	err := h.conn.do(context.Background(), laneHold, func(s *session) error { return s.destroyObject(h.object) })
	if err != nil && !errors.Is(err, errStale) && classOf(err) != classHandleLost {
		h.conn.token.log.Warn("the copy of a key object could not be destroyed", "error", err)
	}
}

// find searches for the one object and makes sure that it is an AES-256 key.
func (k *ObjectKey) find(s *session) (object, error) {
	template := []*attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
	}
	if k.label != "" {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_LABEL, k.label))
	}
	if len(k.id) != 0 {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_ID, k.id))
	}
	found, err := s.find(2, template)
	switch {
	case err != nil:
		return 0, err
	case len(found) == 0:
		return 0, s.missing()
	case len(found) > 1:
		return 0, fmt.Errorf("%w: more than one secret key of that name: add id or object", ErrNotUsable)
	}
	got, err := s.attributes(found[0], pkcs11.CKA_KEY_TYPE, pkcs11.CKA_VALUE_LEN, pkcs11.CKA_ID)
	if err != nil {
		return 0, err
	}
	// Who could use the sealing key like this would open every secret of the keystore, and a key that
	// makes ciphertexts of KMS would make them here too.
	var own ObjectInfo
	if own.place(got[2]); own.Role != "" || string(got[2]) == probeLabel {
		return 0, fmt.Errorf("%w: it is one of kms11's own", ErrNotUsable)
	}
	if number(got[0]) != pkcs11.CKK_AES || number(got[1]) != 32 {
		return 0, fmt.Errorf("%w: it is not an AES key of 32 bytes", ErrNotUsable)
	}
	return found[0], nil
}

// sessionCopy copies a key object to a session object, which harden makes sure cannot leave the token
// or destroys; where the token does not copy it so, the object itself is used.
func (s *session) sessionCopy(o object, harden func(object) (object, error)) (object, error) {
	c, err := s.copyObject(o, []*attribute{pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false)})
	if err == nil {
		c, err = harden(c)
	}
	switch {
	case lost(err):
		return 0, err
	case err != nil:
		return o, nil
	}
	return c, nil
}

// objectFact reads what a key object says of itself. An attribute that the token does not tell is
// taken as the worse.
func (s *session) objectFact(o object) (ObjectFact, error) {
	var fact ObjectFact
	got, err := s.attributes(o, pkcs11.CKA_LABEL, pkcs11.CKA_ID)
	if err != nil {
		return fact, err
	}
	fact.Label, fact.ID = strings.TrimRight(string(got[0]), "\x00"), got[1]
	for _, u := range useAttributes {
		if value, err := s.attributes(o, u.attribute); err == nil && isTrue(value[0]) {
			fact.Uses = append(fact.Uses, u.name)
		}
	}
	is := func(attribute uint, unless bool) bool {
		value, err := s.attributes(o, attribute)
		if err != nil {
			return unless
		}
		return isTrue(value[0])
	}
	fact.Extractable = is(pkcs11.CKA_EXTRACTABLE, true)
	fact.Readable = fact.Extractable && !is(pkcs11.CKA_SENSITIVE, false)
	fact.Foreign = !is(pkcs11.CKA_LOCAL, false) || !is(pkcs11.CKA_NEVER_EXTRACTABLE, false)
	return fact, nil
}

// GenerateObjectKey makes a new AES-256 key object that encrypts and decrypts and cannot leave the
// token. The URI's object and id are what it is called; it fails if there is a secret key of that
// name.
func (t *Token) GenerateObjectKey(ctx context.Context, u URI) error {
	k, err := t.ObjectKey(u)
	if err != nil {
		return err
	}
	return t.do(ctx, laneHold, func(s *session) error {
		s.conn.resting.Lock()
		defer s.conn.resting.Unlock()
		switch _, err := k.find(s); {
		case err == nil, errors.Is(err, ErrNotUsable):
			return errors.New("the token has a secret key of that name already")
		case !errors.Is(err, ErrNotFound):
			return err
		}
		_, err := s.generateObjectKey(u)
		return err
	})
}

func (s *session) generateObjectKey(u URI) (object, error) {
	id := u.ID
	if len(id) == 0 {
		id = []byte(u.Object)
	}
	kind := messageKeyKind
	o, err := s.generateKey(kind.generate, kind.sized(placement{resting: true, id: id, label: u.Object}))
	if err != nil {
		return 0, err
	}
	return s.harden(o)
}
