package ops

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/kms11/kms11/audit"
	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// AuditKey is the key of a keystore that signs the digests of its audit trail. The private half
// exists in clear in the token only. It is safe for concurrent use.
type AuditKey struct {
	store    *keystore.Store
	domain   *hsm.Domain
	material kms.Material
	public   *ecdsa.PublicKey
	anchor   *audit.Anchor
}

// auditKeyName stands for a KMS key's id where the token wants one.
const auditKeyName = "kms11-audit"

// OpenAuditKey gives the key of a keystore, which it makes if there is none yet.
func OpenAuditKey(ctx context.Context, store *keystore.Store, domain *hsm.Domain) (*AuditKey, error) {
	record, err := store.Audit(ctx)
	if errors.Is(err, keystore.ErrNotFound) {
		record, err = makeAuditKey(ctx, store, domain)
	}
	if err != nil {
		return nil, fmt.Errorf("the key that signs the audit trail: %w", err)
	}
	k := &AuditKey{store: store, domain: domain, material: record.Key}
	public, err := x509.ParsePKIXPublicKey(record.Key.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("the key that signs the audit trail: %w", err)
	}
	var ok bool
	if k.public, ok = public.(*ecdsa.PublicKey); !ok {
		return nil, errors.New("the key that signs the audit trail is not an elliptic-curve key")
	}
	if record.Digest > 0 {
		k.anchor = &audit.Anchor{Digest: record.Digest, Hash: record.Hash, Sequence: record.Sequence}
	}
	return k, nil
}

func makeAuditKey(ctx context.Context, store *keystore.Store, domain *hsm.Domain) (*keystore.AuditRecord, error) {
	material, err := domain.GenerateKey(ctx, hsm.KeyRequest{Spec: kms.KeySpecEccNistP256, Usage: kms.KeyUsageTypeSignVerify, KeyID: auditKeyName})
	if err != nil {
		return nil, err
	}
	material.Ordinal, material.Created = 1, time.Now().UTC()
	made := &keystore.AuditRecord{Created: material.Created, Key: material}
	var kept *keystore.AuditRecord
	err = store.Update(ctx, func(tx *keystore.Tx) error {
		there, err := tx.Audit()
		if err == nil { // another node was faster
			kept = there
			return nil
		}
		if !errors.Is(err, keystore.ErrNotFound) {
			return err
		}
		kept = made
		return tx.PutAudit(made)
	})
	if err != nil || kept != made {
		err = errors.Join(err, domain.Destroy(ctx, &material))
	}
	return kept, err
}

// Public implements audit.Signer.
func (k *AuditKey) Public() *ecdsa.PublicKey { return k.public }

// Sign implements audit.Signer.
func (k *AuditKey) Sign(ctx context.Context, message []byte) ([]byte, error) {
	// A rotation of the domain's keys wraps it anew.
	record, err := k.store.Audit(ctx)
	if err != nil {
		return nil, err
	}
	if record.Key.ID != k.material.ID {
		return nil, errors.New("the keystore has another key for the audit trail than at the start")
	}
	return k.domain.Sign(ctx, &record.Key, kms.KeySpecEccNistP256, kms.SigningAlgorithmSpecEcdsaSha256, hsm.SignInput{Message: message})
}

// Anchor is the last digest that the keystore knows of; nil: none.
func (k *AuditKey) Anchor() *audit.Anchor { return k.anchor }

// Keep notes a digest in the keystore, so that a trail whose end was cut off is noticed when it is
// opened.
func (k *AuditKey) Keep(ctx context.Context, a audit.Anchor) error {
	return k.store.Update(ctx, func(tx *keystore.Tx) error {
		record, err := tx.Audit()
		if err != nil {
			return err
		}
		changed := *record
		changed.Digest, changed.Hash, changed.Sequence = a.Digest, a.Hash, a.Sequence
		return tx.PutAudit(&changed)
	})
}

var _ audit.Signer = (*AuditKey)(nil)
