package keystore

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/kms11/kms11/kms"
)

// Secrets are what a record has that a domain's keys protect. They point into the record.
type Secrets struct {
	// Materials are of keys of Spec, which is empty where only the names of resident keys count.
	Spec      kms.KeySpec
	KeyID     string
	Materials []*kms.Material
	Sealed    []SealedSecret
}

// A SealedSecret is something that a domain's sealing key encrypted.
type SealedSecret struct {
	Kind  SealedKind
	Of    string // what it belongs to: with Kind that is the purpose it was sealed for
	Value *[]byte
}

// SealedKind is a sort of sealed secret.
type SealedKind string

// Of names the access key or the custom key store that it belongs to.
const (
	SealedAccessKey     SealedKind = "access-key"
	SealedXksCredential SealedKind = "xks-credential"
	SealedStoreSecret   SealedKind = "custom-key-store-secret"
	SealedStorePassword SealedKind = "custom-key-store-password"
)

// A rekeyRow says what of a kind of record is to be done when keys are rotated. A kind without secrets
// only gets a new MAC: its content is not read.
type rekeyRow struct {
	code uint8
	// open gives the secrets of a content, and what encodes it with them changed; nil: there are none.
	open func(content []byte) (Secrets, func() ([]byte, uint16, error), error)
	// reads says which versions of the content open understands.
	reads func(version uint16) bool
}

func withoutSecrets[T any](k kind[T]) rekeyRow { return rekeyRow{code: k.code} }

func withSecrets[T any](k kind[T], secrets func(*T) Secrets) rekeyRow {
	return rekeyRow{code: k.code, reads: k.reads, open: func(content []byte) (Secrets, func() ([]byte, uint16, error), error) {
		record, err := k.decode(content)
		if err != nil {
			return Secrets{}, nil, err
		}
		return secrets(record), func() ([]byte, uint16, error) {
			b, err := k.encode(record)
			return b, k.version, err
		}, nil
	}}
}

// rekeyRows has a row for every kind but the header.
func rekeyRows() []rekeyRow {
	return []rekeyRow{
		withSecrets(keyKind, (*KeyRecord).secrets),
		withoutSecrets(userKind),
		withSecrets(accessKeyKind, (*AccessKeyRecord).secrets),
		withoutSecrets(aliasKind),
		withSecrets(dueKind, (*DueRecord).secrets),
		withoutSecrets(grantKind),
		withoutSecrets(granteeKind),
		withoutSecrets(retiringKind),
		withoutSecrets(grantNameKind),
		withoutSecrets(grantCountKind),
		withoutSecrets(lastUsageKind),
		withoutSecrets(outboxKind),
		withSecrets(auditKind, (*AuditRecord).secrets),
		withoutSecrets(roleKind),
		withSecrets(customKeyStoreKind, (*CustomKeyStoreRecord).secrets),
		withoutSecrets(customKeyStoreKeyKind),
		withoutSecrets(keyStoreOrphanKind), // it names an object in a token of a custom key store
		withoutSecrets(xksTenantKind),
		withoutSecrets(xksKeyKind),
		withSecrets(xksCredentialKind, (*XksCredentialRecord).secrets),
		withoutSecrets(keyCountKind),
	}
}

func (r *KeyRecord) secrets() Secrets {
	s := Secrets{Spec: r.Spec, KeyID: r.ID}
	for i := range r.Materials {
		s.Materials = append(s.Materials, &r.Materials[i].Material)
	}
	return s
}

// secrets has the resident key of an entry that is to destroy it.
func (r *DueRecord) secrets() Secrets {
	if r.Material == nil {
		return Secrets{}
	}
	return Secrets{KeyID: r.KeyID, Materials: []*kms.Material{r.Material}}
}

func (r *AccessKeyRecord) secrets() Secrets {
	return Secrets{Sealed: []SealedSecret{{Kind: SealedAccessKey, Of: r.ID, Value: &r.SealedSecret}}}
}

func (r *XksCredentialRecord) secrets() Secrets {
	return Secrets{Sealed: []SealedSecret{{Kind: SealedXksCredential, Of: r.AccessKeyID, Value: &r.SealedSecret}}}
}

func (r *CustomKeyStoreRecord) secrets() (s Secrets) {
	if r.External != nil && len(r.External.SealedSecret) > 0 {
		s.Sealed = append(s.Sealed, SealedSecret{Kind: SealedStoreSecret, Of: r.ID, Value: &r.External.SealedSecret})
	}
	if r.CloudHSM != nil && len(r.CloudHSM.SealedPassword) > 0 {
		s.Sealed = append(s.Sealed, SealedSecret{Kind: SealedStorePassword, Of: r.ID, Value: &r.CloudHSM.SealedPassword})
	}
	return s
}

// secrets has the key that signs the audit trail.
func (r *AuditRecord) secrets() Secrets {
	return Secrets{Spec: kms.KeySpecEccNistP256, KeyID: "the audit trail's", Materials: []*kms.Material{&r.Key}}
}

func rekeyRowOf(code uint8) (rekeyRow, bool) {
	for _, row := range rekeyRows() {
		if row.code == code {
			return row, true
		}
	}
	return rekeyRow{}, false
}

// A RekeyStep is what one call of Rekey did.
type RekeyStep struct {
	Next    string // where the next step begins; "" after the last record
	Seen    int
	Changed int
	// Missed counts records that others wrote meanwhile. They are for the next pass.
	Missed int
	// Damaged names records that are not what this store wrote. They stay as they are, and refused.
	Damaged []string
}

// maxRekeyBytes bounds what one step reads into memory.
const maxRekeyBytes = 8 << 20

// Rekey goes over at most limit records, behind the engine key after ("" for the first). change gets the
// secrets of each, replaces what is to be replaced and says whether it did; it runs outside of any
// transaction. What was changed, or has a MAC by another record key than the newest, is verified and written
// in one short transaction, unless somebody else wrote it meanwhile. A record of a kind that is not known here
// is an error, ErrFormat: it may hold secrets.
func (s *Store) Rekey(ctx context.Context, after string, limit int, change func(context.Context, Secrets) (bool, error)) (RekeyStep, error) {
	pairs, step, err := s.readRaw(ctx, after, limit)
	if err != nil {
		return step, fmt.Errorf("rekeying: %w", err)
	}
	var work []rekeyed
	for _, p := range pairs {
		r, err := s.rekeyOne(ctx, p, change)
		switch {
		case errors.Is(err, ErrTampered):
			step.Damaged = append(step.Damaged, string(p.Key))
		case err != nil:
			return step, fmt.Errorf("rekeying: %w", err)
		case r != nil:
			work = append(work, *r)
		}
	}
	if len(work) == 0 {
		return step, nil
	}
	changed, missed := 0, 0
	err = s.Update(ctx, func(tx *Tx) error {
		changed, missed = 0, 0
		for i := range work {
			done, err := tx.replaceRaw(&work[i])
			if err != nil {
				return err
			}
			if done {
				changed++
			} else {
				missed++
			}
		}
		return nil
	})
	step.Changed, step.Missed = changed, missed
	return step, err
}

// Secrets goes over the secrets of every record, without changing or verifying any, in no order. A record
// that is damaged may add to what there is, or be left out.
func (s *Store) Secrets(ctx context.Context, see func(Secrets)) error {
	const batch = 512
	for after := ""; ; {
		pairs, step, err := s.readRaw(ctx, after, batch)
		if err != nil {
			return fmt.Errorf("reading all records: %w", err)
		}
		for _, p := range pairs {
			env, err := parseEnvelope(p.Value)
			if err != nil {
				continue
			}
			row, known := rekeyRowOf(env.kind)
			if !known || row.open != nil && !row.reads(env.contentVersion) {
				return fmt.Errorf("record %s: %w", p.Key, ErrFormat)
			}
			if row.open == nil {
				continue
			}
			if secrets, _, err := row.open(env.content); err == nil {
				see(secrets)
			}
		}
		if after = step.Next; after == "" {
			return nil
		}
	}
}

// readRaw reads what lies behind an engine key, as it is.
func (s *Store) readRaw(ctx context.Context, after string, limit int) (pairs []Pair, step RekeyStep, err error) {
	if limit < 1 {
		return nil, step, fmt.Errorf("%w: a step of at most %d records", ErrInvalid, limit)
	}
	var start []byte
	if after != "" {
		start = append([]byte(after), 0)
	}
	err = s.engine.View(ctx, func(tx EngineTx) error {
		size := 0
		for p, err := range tx.Scan(start, nil) {
			if err != nil {
				return err
			}
			if step.Seen == limit || size > maxRekeyBytes {
				step.Next = after
				return nil
			}
			after = string(p.Key)
			step.Seen++
			size += len(p.Value)
			if after != headerPlace {
				pairs = append(pairs, Pair{Key: bytes.Clone(p.Key), Value: bytes.Clone(p.Value)})
			}
		}
		return nil
	})
	return pairs, step, err
}

// A rekeyed is a record that is ready to be written in place of the one it comes from.
type rekeyed struct {
	place string
	raw   []byte // as it was read
	env   envelope
}

// rekeyOne gives nil for a record that needs nothing.
func (s *Store) rekeyOne(ctx context.Context, p Pair, change func(context.Context, Secrets) (bool, error)) (*rekeyed, error) {
	place := string(p.Key)
	env, err := parseEnvelope(p.Value)
	if err != nil {
		return nil, tampered(place, err)
	}
	row, known := rekeyRowOf(env.kind)
	if !known || row.open != nil && !row.reads(env.contentVersion) {
		return nil, fmt.Errorf("record %s: %w: kind %d, version %d", place, ErrFormat, env.kind, env.contentVersion)
	}
	stale := env.recordKey != s.auth.RecordKeyVersion()
	if row.open == nil && !stale {
		return nil, nil
	}
	// Nothing of a record that is not genuine goes to a token, or gets a new MAC.
	if err := s.genuine(ctx, place, &env); err != nil {
		return nil, err
	}
	if row.open == nil {
		return &rekeyed{place: place, raw: p.Value, env: env}, nil
	}
	secrets, encode, err := row.open(env.content)
	if err != nil {
		return nil, fmt.Errorf("record %s: %w: %w", place, ErrFormat, err)
	}
	changed, err := change(ctx, secrets)
	if err != nil {
		return nil, fmt.Errorf("record %s: %w", place, err)
	}
	if !changed && !stale {
		return nil, nil
	}
	if changed {
		if env.content, env.contentVersion, err = encode(); err != nil {
			return nil, fmt.Errorf("record %s: %w", place, err)
		}
	}
	return &rekeyed{place: place, raw: p.Value, env: env}, nil
}

// genuine says why a record is not one that this store wrote in this place.
func (s *Store) genuine(ctx context.Context, place string, env *envelope) error {
	known, err := s.hasRecordKey(ctx, env.recordKey)
	if err != nil {
		return err
	}
	if !known {
		return tampered(place, errRecordKey(env.recordKey))
	}
	if err := verifyMAC(ctx, s.auth, s.id, place, env); err != nil {
		return err
	}
	return s.checkRevision(ctx, place, env.revision)
}

// replaceRaw writes a record by the newest record key, if the one that it comes from is still there.
func (tx *Tx) replaceRaw(r *rekeyed) (bool, error) {
	now, err := tx.engine.Get([]byte(r.place))
	if errors.Is(err, ErrNotFound) || err == nil && !bytes.Equal(now, r.raw) {
		return false, nil
	}
	if err != nil {
		return false, tx.fail(err)
	}
	env := r.env
	env.recordKey, env.revision = tx.store.auth.RecordKeyVersion(), tx.Revision()
	if env.mac, err = computeMAC(tx.ctx, tx.store.auth, tx.store.id, r.place, &env); err != nil {
		return false, tx.fail(err)
	}
	if err := tx.engine.Put([]byte(r.place), env.marshal()); err != nil {
		return false, tx.fail(fmt.Errorf("record %s: %w", r.place, err))
	}
	tx.written = append(tx.written, r.place)
	return true, nil
}
