package hsm

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/kms11/kms11/kms"
	"github.com/miekg/pkcs11"
)

// The persistent objects of a domain are secret keys with CKA_PRIVATE and CKA_SENSITIVE, without
// CKA_EXTRACTABLE. Their CKA_ID is
//
//	domain id  16 bytes, random
//	role        1 byte: 1 domain key, 2 record key, 3 sealing key
//	version     4 bytes, big-endian, from 1 within the role
//
// and their CKA_LABEL is for people: "kms11 domain key 1".
const (
	domainIDSize   = 16
	domainObjectID = domainIDSize + 1 + 4
)

// macKind is an HMAC key. It signs only: MACs are verified by making them again.
var macKind = secretKind{pkcs11.CKK_GENERIC_SECRET, pkcs11.CKM_GENERIC_SECRET_KEY_GEN, 32, useSign}

// sealKind is a sealing key.
var sealKind = secretKind{pkcs11.CKK_AES, pkcs11.CKM_AES_KEY_GEN, 32, useEncrypt | useDecrypt}

// domainRoles are the keys of a domain.
var domainRoles = []domainRole{
	{kms.RoleWrap, 1, wrapKeyKind, makeWrapCheck, verifyWrapCheck},
	{kms.RoleRecord, 2, macKind, makeRecordCheck, verifyRecordCheck},
	{kms.RoleSeal, 3, sealKind, makeSealCheck, verifySealCheck},
}

type domainRole struct {
	role kms.DomainKeyRole
	code byte // in CKA_ID
	kind secretKind
	// check makes the check value of a key, verify compares it with one.
	check  func(s *session, w wraps, key object) ([]byte, error)
	verify func(s *session, w wraps, key object, check []byte) error
}

func roleOf(role kms.DomainKeyRole) (*domainRole, error) {
	for i := range domainRoles {
		if domainRoles[i].role == role {
			return &domainRoles[i], nil
		}
	}
	return nil, fmt.Errorf("%w: domain key role %q", ErrUnsupported, role)
}

func (r *domainRole) objectID(domain []byte, version uint32) []byte {
	id := make([]byte, 0, domainObjectID)
	id = append(append(id, domain...), r.code)
	return binary.BigEndian.AppendUint32(id, version)
}

// resting is where a domain key is kept.
func (r *domainRole) resting(domain []byte, version uint32) placement {
	return placement{
		resting: true,
		id:      r.objectID(domain, version),
		label:   fmt.Sprintf("kms11 %s key %d", r.role, version),
	}
}

// A domainKey is a domain key on one conn.
type domainKey struct {
	resting object // the persistent object
	object  object // its copy as a session object, which is faster to use
	copied  bool   // false on a token that cannot copy: object is resting
}

// A keyRef names a domain key.
type keyRef struct {
	role    kms.DomainKeyRole
	version uint32
}

// A loaded is the domain's objects on one conn.
type loaded struct {
	keyring
	member *member
	wraps  wraps
	// keys is never changed, only replaced, by who has the holder session.
	keys atomic.Pointer[map[keyRef]domainKey]

	abilities *abilities
	pairs     *pool[dataPair]     // data key pairs: handles, until they are handed out
	imports   *pool[kms.Material] // pairs to wrap imports with: wrapped already
}

// load finds the domain's keys on c, whose holder session is s.
func (m *member) load(c *conn, s *session) error {
	w, err := c.token.wrapsOf(s)
	if err != nil {
		return err
	}
	a, err := c.token.able(s, w)
	if err != nil {
		return err
	}
	l := &loaded{member: m, wraps: w, abilities: a}
	l.keyring = keyring{conn: c, cache: newCache(c.token.config.Handles, l.destroy), direct: &m.domain.direct, bring: l.bring}
	l.pairs = newPool(c, l.newDataPair, l.dropDataPair)
	l.imports = newPool(c, l.newImportPair, func(kms.Material) {})
	if err := l.loadKeys(s); err != nil {
		l.discard(s)
		return err
	}
	c.loaded.Store(m, l)
	return nil
}

// loadKeys finds the domain's keys that l does not have yet, less those that its token is not to have.
// Which those are it finds out the first time.
func (l *loaded) loadKeys(s *session) error {
	m := l.member
	description := m.domain.description()
	domain, err := hex.DecodeString(description.ID)
	if err != nil {
		return err
	}
	keys, lacks := map[keyRef]domainKey{}, map[keyRef]bool{}
	if old := l.keys.Load(); old != nil {
		keys = maps.Clone(*old)
	}
	known := m.lacks.Load()
	if known != nil {
		lacks = *known
	}
	var missing error
	for _, k := range description.Keys {
		ref := keyRef{k.Role, k.Version}
		if _, loaded := keys[ref]; loaded || lacks[ref] {
			continue
		}
		key, err := loadKey(s, l.wraps, domain, k)
		if err != nil {
			err = fmt.Errorf("domain %s, %s key %d on %s: %w", description.ID, k.Role, k.Version, l.conn.token.config.URI, err)
		}
		switch {
		case errors.Is(err, errNoKey) && known == nil:
			lacks[ref], missing = true, err
			continue
		case err != nil:
			l.keys.Store(&keys)
			return err
		}
		keys[ref] = key
	}
	l.keys.Store(&keys)
	if known != nil {
		return nil
	}
	if !mayLack(description, lacks) {
		return missing
	}
	m.lacks.Store(&lacks)
	return nil
}

// discard destroys the copies of a domain that could not be loaded.
func (l *loaded) discard(s *session) {
	keys := l.keys.Load()
	if keys == nil {
		return
	}
	for _, k := range *keys {
		if k.copied {
			_ = s.destroyObject(k.object) // the error that led here is the one to report
		}
	}
}

func loadKey(s *session, w wraps, domain []byte, k kms.DomainKey) (domainKey, error) {
	role, err := roleOf(k.Role)
	if err != nil {
		return domainKey{}, err
	}
	id := role.objectID(domain, k.Version)
	if string(id) != string(k.ObjectID) {
		return domainKey{}, fmt.Errorf("%w: its CKA_ID is that of another key", ErrWrongToken)
	}
	found, err := s.find(2, []*attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_ID, id),
	})
	if err != nil {
		return domainKey{}, err
	}
	if len(found) == 0 {
		return domainKey{}, errNoKey
	}
	if len(found) != 1 {
		return domainKey{}, fmt.Errorf("%w: %d objects with its CKA_ID, not one", ErrWrongToken, len(found))
	}
	key := domainKey{resting: found[0], object: found[0]}
	for _, check := range []func() error{
		func() error { return s.locked(key.resting) },
		func() error { return s.exactly(key.resting, role.kind.use) },
		func() error { return role.verify(s, w, key.resting, k.Check) },
	} {
		if err := check(); err != nil {
			return domainKey{}, err
		}
	}
	return key.copyTo(s)
}

// copyTo makes a session object of a resting key: unwrapping with it is 1.5 to 70 times cheaper,
// because the token does not go to its storage. A token that cannot copy goes on without.
func (k domainKey) copyTo(s *session) (domainKey, error) {
	o, err := s.copyObject(k.resting, []*attribute{pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false)})
	if err != nil {
		if c := classOf(err); c == classSessionLost || c == classTokenLost {
			return domainKey{}, err
		}
		return k, nil
	}
	if o, err = s.harden(o); err != nil {
		return domainKey{}, err
	}
	k.object, k.copied = o, true
	return k, nil
}

// errNoKey: a token does not have one of the domain's keys.
var errNoKey = fmt.Errorf("%w: no object with its CKA_ID", ErrWrongToken)

// errLacks: a token is not to have a key, or the domain has no such key. It matches ErrNotFound.
var errLacks = fmt.Errorf("this token has no such key: %w", ErrNotFound)

// key gives a domain key of this conn. The error matches errLacks if the token has none of this version.
func (l *loaded) key(role kms.DomainKeyRole, version uint32) (domainKey, error) {
	ref := keyRef{role, version}
	if k, ok := (*l.keys.Load())[ref]; ok {
		return k, nil
	}
	d := l.member.domain
	err := fmt.Errorf("%s key %d of domain %s: %w", role, version, d.ID(), errLacks)
	if d.listed(ref) && l.member.has(ref) {
		// The conn was made while a rotation brought the key; its successor finds it.
		return domainKey{}, l.conn.objectsLost(err)
	}
	return domainKey{}, err
}

func (d *Domain) listed(ref keyRef) bool {
	return slices.ContainsFunc(d.description().Keys, func(k kms.DomainKey) bool { return keyRef{k.Role, k.Version} == ref })
}

// has says whether the token is to have a key.
func (m *member) has(ref keyRef) bool {
	lacks := m.lacks.Load()
	return lacks == nil || !(*lacks)[ref]
}
