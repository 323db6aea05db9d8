package keystore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// kind is all there is to know about one kind of record. A new kind is one more of these, a type,
// and the typed methods of Store and Tx that name it. The codes are for ever.
type kind[T any] struct {
	code    uint8  // in the envelope
	version uint16 // of the content that this program writes
	oldest  uint16 // version that it reads; 0 is version. A newer one only adds members to it
	place   func(*T) engineKey
	// prepare gives a copy in the one form that is written, or says why it cannot be.
	prepare func(*T) (*T, error)
	// read, if there is one, adds to a record that was read what follows from it.
	read func(*T)
}

var (
	headerKind    = kind[headerContent]{code: 1, version: 3, oldest: 1, place: (*headerContent).place, prepare: (*headerContent).prepare}
	keyKind       = kind[KeyRecord]{code: 2, version: 2, oldest: 1, place: (*KeyRecord).place, prepare: (*KeyRecord).prepare, read: (*KeyRecord).makeARN}
	userKind      = kind[UserRecord]{code: 3, version: 2, oldest: 1, place: (*UserRecord).place, prepare: (*UserRecord).prepare}
	accessKeyKind = kind[AccessKeyRecord]{code: 4, version: 1, place: (*AccessKeyRecord).place, prepare: (*AccessKeyRecord).prepare}
	aliasKind     = kind[AliasRecord]{code: 5, version: 1, place: (*AliasRecord).place, prepare: (*AliasRecord).prepare}
	dueKind       = kind[DueRecord]{code: 6, version: 2, oldest: 1, place: (*DueRecord).place, prepare: (*DueRecord).prepare}

	grantKind      = kind[GrantRecord]{code: 7, version: 1, place: (*GrantRecord).place, prepare: (*GrantRecord).prepare}
	granteeKind    = kind[granteeRecord]{code: 8, version: 1, place: (*granteeRecord).place, prepare: (*granteeRecord).prepare}
	retiringKind   = kind[retiringRecord]{code: 9, version: 1, place: (*retiringRecord).place, prepare: (*retiringRecord).prepare}
	grantNameKind  = kind[grantNameRecord]{code: 10, version: 1, place: (*grantNameRecord).place, prepare: (*grantNameRecord).prepare}
	grantCountKind = kind[grantCountRecord]{code: 11, version: 1, place: (*grantCountRecord).place, prepare: (*grantCountRecord).prepare}

	customKeyStoreKind    = kind[CustomKeyStoreRecord]{code: 20, version: 1, place: (*CustomKeyStoreRecord).place, prepare: (*CustomKeyStoreRecord).prepare}
	customKeyStoreKeyKind = kind[customKeyStoreKeyRecord]{code: 21, version: 1, place: (*customKeyStoreKeyRecord).place, prepare: (*customKeyStoreKeyRecord).prepare}
	keyStoreOrphanKind    = kind[KeyStoreOrphanRecord]{code: 22, version: 1, place: (*KeyStoreOrphanRecord).place, prepare: (*KeyStoreOrphanRecord).prepare}

	lastUsageKind = kind[LastUsageRecord]{code: 12, version: 2, oldest: 1, place: (*LastUsageRecord).place, prepare: (*LastUsageRecord).prepare}

	outboxKind        = kind[OutboxRecord]{code: 13, version: 1, place: (*OutboxRecord).place, prepare: (*OutboxRecord).prepare}
	auditKind         = kind[AuditRecord]{code: 14, version: 1, place: (*AuditRecord).place, prepare: (*AuditRecord).prepare}
	roleKind          = kind[RoleRecord]{code: 15, version: 1, place: (*RoleRecord).place, prepare: (*RoleRecord).prepare}
	keyCountKind      = kind[keyCountRecord]{code: 28, version: 1, place: (*keyCountRecord).place, prepare: (*keyCountRecord).prepare}
	xksTenantKind     = kind[XksTenantRecord]{code: 23, version: 1, place: (*XksTenantRecord).place, prepare: (*XksTenantRecord).prepare}
	xksKeyKind        = kind[XksKeyRecord]{code: 24, version: 1, place: (*XksKeyRecord).place, prepare: (*XksKeyRecord).prepare}
	xksCredentialKind = kind[XksCredentialRecord]{code: 25, version: 1, place: (*XksCredentialRecord).place, prepare: (*XksCredentialRecord).prepare}
)

// reads says whether this program reads contents of a version. A newer version only adds members
// to an older one, which may be left out.
func (k kind[T]) reads(version uint16) bool {
	if k.oldest == 0 {
		return version == k.version
	}
	return k.oldest <= version && version <= k.version
}

// encode gives the content of a record.
func (k kind[T]) encode(record *T) ([]byte, error) {
	ready, err := k.prepare(record)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return encodeJSON(ready)
}

// encodeJSON is the form of JSON that contents have.
func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// decode reads the content of a record. A member it does not know is an error: writing the record
// back would lose it without a word.
func (k kind[T]) decode(content []byte) (*T, error) {
	dec := json.NewDecoder(bytes.NewReader(content))
	dec.DisallowUnknownFields()
	record := new(T)
	if err := dec.Decode(record); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more than one JSON value")
	}
	if k.read != nil {
		k.read(record)
	}
	return record, nil
}
