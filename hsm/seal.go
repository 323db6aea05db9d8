package hsm

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/kms11/kms11/kms"
	"github.com/miekg/pkcs11"
)

// maxRandom bounds one call of Random.
const maxRandom = 1 << 16

// Random gives n bytes, 1 to 65536, from a token's generator.
func (d *Domain) Random(ctx context.Context, n int) ([]byte, error) {
	if n < 1 || n > maxRandom {
		return nil, fmt.Errorf("%d random bytes: not 1 to %d", n, maxRandom)
	}
	var b []byte
	err := d.use(ctx, func(l *loaded) (err error) {
		b, err = l.random(ctx, n)
		return err
	})
	return b, err
}

// MAC gives HMAC-SHA-256 of data, 32 bytes, by the record key of that version. An unknown version
// gives an error that matches ErrNotFound.
func (d *Domain) MAC(ctx context.Context, version uint32, data []byte) ([]byte, error) {
	var mac []byte
	err := d.use(ctx, func(l *loaded) error {
		key, err := l.key(kms.RoleRecord, version)
		if err != nil {
			return err
		}
		return l.conn.do(ctx, laneShort, func(s *session) error {
			mac, err = s.sign(pkcs11.CKM_SHA256_HMAC, nil, key.object, data)
			return err
		})
	})
	return mac, err
}

// What Seal makes:
//
//	format   1 byte: 1
//	version  4 bytes, big-endian: of the sealing key
//	iv      12 bytes, random
//	text     as long as the plaintext: AES-256-GCM
//	tag     16 bytes
//
// The AAD is format, version and purpose.
const (
	sealFormat   = 1
	sealHeader   = 1 + 4
	sealOverhead = sealHeader + ivSize + tagSize
)

func sealedVersion(sealed []byte) uint32 { return binary.BigEndian.Uint32(sealed[1:]) }

func sealAAD(header []byte, purpose string) []byte {
	return append(append(make([]byte, 0, sealHeader+len(purpose)), header[:sealHeader]...), purpose...)
}

// Seal encrypts plaintext under the sealing key for one purpose, a constant of the caller such as
// "import token". The answer is 33 bytes longer.
func (d *Domain) Seal(ctx context.Context, purpose string, plaintext []byte) ([]byte, error) {
	version := d.newest(kms.RoleSeal)
	sealed := make([]byte, sealHeader+ivSize, sealOverhead+len(plaintext))
	sealed[0] = sealFormat
	binary.BigEndian.PutUint32(sealed[1:], version)
	iv := sealed[sealHeader:]
	_, _ = rand.Read(iv) // crypto/rand never fails
	var text []byte
	err := d.use(ctx, func(l *loaded) error {
		key, err := l.key(kms.RoleSeal, version)
		if err != nil {
			return err
		}
		return l.conn.do(ctx, laneShort, func(s *session) error {
			text, err = s.sealGCM(key.object, iv, sealAAD(sealed, purpose), plaintext)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return append(sealed, text...), nil
}

// Open gives what was sealed for the same purpose. Anything else gives an error that matches
// ErrBadCiphertext.
func (d *Domain) Open(ctx context.Context, purpose string, sealed []byte) ([]byte, error) {
	if len(sealed) < sealOverhead || sealed[0] != sealFormat {
		return nil, fmt.Errorf("%w: not a sealed message", ErrBadCiphertext)
	}
	version := sealedVersion(sealed)
	if !d.listed(keyRef{kms.RoleSeal, version}) {
		return nil, fmt.Errorf("%w: no sealing key %d", ErrBadCiphertext, version)
	}
	iv, text := sealed[sealHeader:sealHeader+ivSize], sealed[sealHeader+ivSize:]
	var plaintext []byte
	err := d.use(ctx, func(l *loaded) error {
		key, err := l.key(kms.RoleSeal, version)
		if err != nil {
			return err
		}
		return l.conn.do(ctx, laneShort, func(s *session) error {
			plaintext, err = s.openGCM(key.object, iv, sealAAD(sealed, purpose), text)
			return err
		})
	})
	return plaintext, err
}

// Health asks every token of the domain whether it is there and still holds the newest domain
// key that it is to have: by unwrapping with the resting key, since session copies outlive a token's storage. A
// token that fails is marked down; the error names each.
func (d *Domain) Health(ctx context.Context) error {
	var errs []error
	for _, m := range d.members() {
		errs = append(errs, m.health(ctx))
	}
	return errors.Join(errs...)
}

func (m *member) health(ctx context.Context) error {
	err := m.token.with(ctx, func(c *conn) error {
		l := m.on(c)
		if l == nil {
			return errors.New("the domain is closed")
		}
		return c.healthy(c.do(ctx, laneHold, func(s *session) error {
			c.resting.Lock()
			defer c.resting.Unlock()
			return l.holds(s)
		}))
	})
	if err != nil {
		return fmt.Errorf("token %s: %w", m.token.config.URI, err)
	}
	return nil
}

// holds says why the token does not hold the newest domain key any more.
func (l *loaded) holds(s *session) error {
	if _, err := s.tokenInfo(); err != nil {
		return err
	}
	// During a rotation the newest of the keys that this token is to have.
	newest := kms.DomainKey{}
	for _, k := range l.member.domain.description().Keys {
		if k.Role == kms.RoleWrap && k.Version > newest.Version && l.member.has(keyRef{k.Role, k.Version}) {
			newest = k
		}
	}
	if newest.Version == 0 {
		return errCheck
	}
	key, ok := (*l.keys.Load())[keyRef{kms.RoleWrap, newest.Version}]
	if !ok {
		return nil // the conn was made while a rotation brought the key, or one is about to bring it
	}
	return verifyWrapCheck(s, l.wraps, key.resting, newest.Check)
}
