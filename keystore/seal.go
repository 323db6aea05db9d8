package keystore

import (
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
)

// An Authenticator makes the MACs of records. hsm.Domain is one; its keys never leave the token.
type Authenticator interface {
	// MAC gives the HMAC-SHA-256, 32 bytes, of data under the record key of this version.
	MAC(ctx context.Context, version uint32, data []byte) ([]byte, error)
	// RecordKeyVersion is the version that new records are to be written with.
	RecordKeyVersion() uint32
}

// sealRecord makes the envelope of a record and gives its bytes.
func sealRecord[T any](ctx context.Context, a Authenticator, k kind[T], storeID, place string, revision uint64, record *T) ([]byte, error) {
	content, err := k.encode(record)
	if err != nil {
		return nil, fmt.Errorf("record %s: %w", place, err)
	}
	env := envelope{
		kind:           k.code,
		contentVersion: k.version,
		recordKey:      a.RecordKeyVersion(),
		revision:       revision,
		content:        content,
	}
	mac, err := computeMAC(ctx, a, storeID, place, &env)
	if err != nil {
		return nil, err
	}
	env.mac = mac
	return env.marshal(), nil
}

// openRecord gives the record in raw after checking that this store wrote it under place.
// hasRecordKey says which record keys the domain has.
func openRecord[T any](ctx context.Context, a Authenticator, k kind[T], storeID, place string, raw []byte, hasRecordKey func(uint32) (bool, error)) (*T, envelope, error) {
	// Within a store of format 1 every envelope is of version 1, so another one is no innocent.
	env, err := parseEnvelope(raw)
	if err != nil {
		return nil, env, tampered(place, err)
	}
	if env.kind != k.code {
		return nil, env, tampered(place, fmt.Errorf("it is of kind %d instead of %d", env.kind, k.code))
	}
	known, err := hasRecordKey(env.recordKey)
	if err != nil {
		return nil, env, err
	}
	if !known {
		return nil, env, tampered(place, errRecordKey(env.recordKey))
	}
	if err := verifyMAC(ctx, a, storeID, place, &env); err != nil {
		return nil, env, err
	}
	if !k.reads(env.contentVersion) {
		return nil, env, fmt.Errorf("record %s: %w %d: this program knows %d", place, ErrFormat, env.contentVersion, k.version)
	}
	record, err := k.decode(env.content)
	if err != nil {
		// The token vouches for these bytes, so a program wrote them that is not this one.
		return nil, env, fmt.Errorf("record %s: %w: %w", place, ErrFormat, err)
	}
	return record, env, nil
}

func verifyMAC(ctx context.Context, a Authenticator, storeID, place string, env *envelope) error {
	mac, err := computeMAC(ctx, a, storeID, place, env)
	if err != nil {
		return err
	}
	if !hmac.Equal(mac[:], env.mac[:]) {
		return tampered(place, errors.New("its MAC is wrong"))
	}
	return nil
}

func computeMAC(ctx context.Context, a Authenticator, storeID, place string, env *envelope) (mac [macSize]byte, err error) {
	b, err := a.MAC(ctx, env.recordKey, env.macInput(storeID, place))
	if err != nil {
		return mac, fmt.Errorf("MAC of record %s: %w", place, err)
	}
	if len(b) != macSize {
		return mac, fmt.Errorf("MAC of record %s: got %d bytes instead of %d", place, len(b), macSize)
	}
	return [macSize]byte(b), nil
}

func tampered(place string, why error) error {
	return fmt.Errorf("%w: record %s: %w", ErrTampered, place, why)
}

func errRecordKey(version uint32) error {
	return fmt.Errorf("it names record key %d, which the domain does not have", version)
}
