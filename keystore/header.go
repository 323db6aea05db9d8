package keystore

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kms11/kms11/kms"
)

// Header says what a store is and which tokens it belongs to.
type Header struct {
	Format  int        // of the whole store: 1 to 3
	StoreID string     // a UUID, chosen when the store was made
	Created time.Time  // UTC
	Domain  kms.Domain // the objects that a token must hold to serve this store
	// Regions are the Regions that have tokens of their own, in ascending order. It is shared and
	// must not be changed.
	Regions  []RegionDomain
	Revision uint64 // how many transactions wrote to the store, its creation being the first
}

// headerContent is the content of the header's record. The format is the content version and the
// revision that of the envelope.
type headerContent struct {
	StoreID string     `json:"storeId"`
	Created time.Time  `json:"created"`
	Domain  kms.Domain `json:"domain"`
	// Regions came with version 2, the rotation of a domain with version 3.
	Regions []RegionDomain `json:"regions,omitempty"`
}

// headerPlace is a constant because it never changes with the store.
const headerPlace = "-/-/-/header/store"

func (*headerContent) place() engineKey { return engineKey{kind: "header", id: "store"} }

func (h *headerContent) prepare() (*headerContent, error) {
	c := *h
	c.Created = utc(c.Created)
	if c.StoreID == "" || c.Created.IsZero() || c.Domain.ID == "" {
		return nil, errors.New("the header needs a store id, a time and a domain")
	}
	if err := checkRegionDomains(&c); err != nil {
		return nil, err
	}
	return &c, nil
}

// verifiedHeader is a header whose MAC was checked, and the digest of the bytes it was read from.
type verifiedHeader struct {
	Header
	digest [sha256.Size]byte
}

func newHeader(env envelope, c *headerContent) Header {
	return Header{
		Format:   int(env.contentVersion),
		StoreID:  c.StoreID,
		Created:  c.Created,
		Domain:   c.Domain,
		Regions:  c.Regions,
		Revision: env.revision,
	}
}

// hasRecordKey says whether the domain has a record key of this version.
func (h *Header) hasRecordKey(version uint32) bool {
	return slices.ContainsFunc(h.Domain.Keys, func(k kms.DomainKey) bool {
		return k.Role == kms.RoleRecord && k.Version == version
	})
}

// ReadHeader reads the header without verifying it: who finds the tokens needs it before there is
// anything to verify it with. Act on nothing in it until Open has succeeded. The error is
// ErrNoStore if the engine is empty, ErrTampered if there are records but no header, ErrFormat if
// a newer program wrote it.
func ReadHeader(ctx context.Context, e Engine) (Header, error) {
	raw, err := readRawHeader(ctx, e)
	if err != nil {
		return Header{}, err
	}
	env, content, err := parseHeader(raw)
	if err != nil {
		return Header{}, err
	}
	return newHeader(env, content), nil
}

func readRawHeader(ctx context.Context, e Engine) (raw []byte, err error) {
	err = e.View(ctx, func(tx EngineTx) error {
		b, err := getHeader(tx)
		raw = bytes.Clone(b)
		return err
	})
	return raw, err
}

// getHeader gives the bytes of the header's record.
func getHeader(tx EngineTx) ([]byte, error) {
	raw, err := tx.Get([]byte(headerPlace))
	if !errors.Is(err, ErrNotFound) {
		return raw, err
	}
	for _, err := range tx.Scan(nil, nil) {
		if err != nil {
			return nil, err
		}
		return nil, tampered(headerPlace, errors.New("there are records but no header"))
	}
	return nil, ErrNoStore
}

func parseHeader(raw []byte) (envelope, *headerContent, error) {
	env, err := parseEnvelope(raw)
	switch {
	case errors.Is(err, errEnvelopeVersion):
		// A new envelope comes only with a new format of the store, so the header says it first.
		return env, nil, fmt.Errorf("keystore header: %w: %w", ErrFormat, err)
	case err != nil:
		return env, nil, tampered(headerPlace, err)
	case env.kind != headerKind.code:
		return env, nil, tampered(headerPlace, fmt.Errorf("it is of kind %d", env.kind))
	case !headerKind.reads(env.contentVersion):
		return env, nil, fmt.Errorf("keystore header: %w %d: this program knows %d",
			ErrFormat, env.contentVersion, headerKind.version)
	}
	content, err := headerKind.decode(env.content)
	if err != nil {
		return env, nil, tampered(headerPlace, err)
	}
	return env, content, nil
}

// verifyHeader checks the MAC of the header in raw, unless the bytes are those of known.
func verifyHeader(ctx context.Context, a Authenticator, raw []byte, known *verifiedHeader) (*verifiedHeader, error) {
	digest := sha256.Sum256(raw)
	if known != nil && known.digest == digest {
		return known, nil
	}
	env, content, err := parseHeader(raw)
	if err != nil {
		return nil, err
	}
	h := &verifiedHeader{Header: newHeader(env, content), digest: digest}
	if !h.hasRecordKey(env.recordKey) {
		return nil, tampered(headerPlace, errRecordKey(env.recordKey))
	}
	if err := verifyMAC(ctx, a, "", headerPlace, &env); err != nil {
		return nil, err
	}
	if known == nil {
		return h, nil
	}
	if h.StoreID != known.StoreID {
		return nil, tampered(headerPlace, errors.New("it is the header of another store"))
	}
	if h.Revision < known.Revision {
		return nil, tampered(headerPlace, fmt.Errorf("its revision went back from %d to %d", known.Revision, h.Revision))
	}
	return h, nil
}

// newStoreID makes a random UUID.
func newStoreID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: see crypto/rand
	return kms.FormatUUID(b)
}

// utc gives t as it will be read back: in UTC and without a monotonic reading.
func utc(t time.Time) time.Time { return t.Round(0).UTC() }
