package ops

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// ProxyKey is an external key.
type ProxyKey struct {
	record *keystore.XksKeyRecord
	behind proxied
}

// proxied is the key behind an external key. Errors are those of proxyError.
type proxied interface {
	// status says whether the key can be used now and for what, in PKCS #11's names.
	status(ctx context.Context) (enabled bool, uses []string, err error)
	encrypt(ctx context.Context, use ProxyUse, bind Bind, plaintext []byte) (ProxySealed, error)
	encryptChecked(ctx context.Context, use ProxyUse, bind Bind, plaintext []byte, made func(ProxySealed)) (ProxySealed, error)
	decrypt(ctx context.Context, use ProxyUse, bind Bind, sealed ProxySealed) ([]byte, error)
}

// Bind gives the additional authenticated data for a ciphertext that goes out with this metadata.
type Bind func(metadata []byte) []byte

// ProxyUse is the request that a key is used for, for its record of last use.
type ProxyUse struct {
	RequestID string
	EventID   string // of its audit event
}

// ProxySealed is one message of an external key.
type ProxySealed struct {
	Metadata   []byte // at most 20 bytes; empty for key objects
	IV         []byte // 12 bytes; 16 are taken for key objects
	Ciphertext []byte // ends in the 16-byte tag
}

// Status says whether the key can be used now, and for what: PKCS #11's names, such as ENCRYPT.
func (k *ProxyKey) Status(ctx context.Context) (enabled bool, uses []string, err error) {
	enabled, uses, err = k.behind.status(ctx)
	return enabled && !k.record.Disabled, uses, err
}

// Encrypt encrypts in the token.
func (k *ProxyKey) Encrypt(ctx context.Context, use ProxyUse, bind Bind, plaintext []byte) (ProxySealed, error) {
	if k.record.Disabled {
		return ProxySealed{}, ErrExternalKeyState
	}
	return k.behind.encrypt(ctx, use, bind, plaintext)
}

// EncryptChecked is Encrypt that has the token decrypt the message again, and fails if that does not give
// the plaintext. made gets the message before that; it may be called more than once, and the last call
// counts.
func (k *ProxyKey) EncryptChecked(ctx context.Context, use ProxyUse, bind Bind, plaintext []byte, made func(ProxySealed)) (ProxySealed, error) {
	if k.record.Disabled {
		return ProxySealed{}, ErrExternalKeyState
	}
	return k.behind.encryptChecked(ctx, use, bind, plaintext, made)
}

// Decrypt decrypts in the token.
func (k *ProxyKey) Decrypt(ctx context.Context, use ProxyUse, bind Bind, sealed ProxySealed) ([]byte, error) {
	if k.record.Disabled {
		return nil, ErrExternalKeyState
	}
	return k.behind.decrypt(ctx, use, bind, sealed)
}

// proxiedKey is a KMS key of the service behind an external key. Its state counts, its policy does
// not: who made the external key has said who may use it.
//
// Its messages share message keys and IVs' counters with the key's ordinary ciphertexts. What keeps
// the two apart is the start of their additional authenticated data: proxyLabel here, a version
// byte there, of which 0x6B ("k") is not to become one. The metadata of a message are
//
//	ordinal  4 bytes, big-endian: of the key material
//	nonce    15, 16 or no bytes: of the derivation, by the material's scheme
type proxiedKey struct {
	service *Service
	id      keystore.KeyID
}

const proxyLabel = "kms11 xks\x00"

func newProxiedKey(s *Service, arn kms.ARN) proxied {
	return proxiedKey{s, keystore.KeyID{Partition: arn.Partition, Account: arn.Account, Region: arn.Region, ID: arn.KeyID()}}
}

// key gives the key's record as it is now.
func (k proxiedKey) key(ctx context.Context) (*keystore.KeyRecord, error) {
	record, err := k.service.store.Key(ctx, k.id)
	if errors.Is(err, keystore.ErrNotFound) {
		return nil, ErrNoExternalKey
	}
	if err != nil {
		return nil, err
	}
	return k.service.present(record), nil
}

// usable is key for a message.
func (k proxiedKey) usable(ctx context.Context) (*keystore.KeyRecord, error) {
	record, err := k.key(ctx)
	if err != nil {
		return nil, err
	}
	if !proxiable(record) {
		return nil, ErrExternalKeyUsage
	}
	if record.State != kms.KeyStateEnabled {
		return nil, ErrExternalKeyState
	}
	return record, nil
}

// proxiable says whether a KMS key can be an external key: only a symmetric one whose material is
// this service's own, not one that is in a key store itself.
func proxiable(r *keystore.KeyRecord) bool {
	return r.Spec == kms.KeySpecSymmetricDefault && r.Usage == kms.KeyUsageTypeEncryptDecrypt &&
		(r.Origin == kms.OriginTypeAwsKms || r.Origin == kms.OriginTypeExternal)
}

func (k proxiedKey) status(ctx context.Context) (bool, []string, error) {
	record, err := k.key(ctx)
	if err != nil {
		return false, nil, err
	}
	if !proxiable(record) {
		return false, nil, ErrExternalKeyUsage
	}
	return record.State == kms.KeyStateEnabled, []string{"ENCRYPT", "DECRYPT"}, nil
}

func (k proxiedKey) encrypt(ctx context.Context, use ProxyUse, bind Bind, plaintext []byte) (ProxySealed, error) {
	record, err := k.usable(ctx)
	if err != nil {
		return ProxySealed{}, err
	}
	material := record.CurrentMaterial()
	var metadata []byte
	sealed, err := k.service.domain.EncryptBound(ctx, material, func(nonce []byte) []byte {
		metadata = append(binary.BigEndian.AppendUint32(make([]byte, 0, 20), material.Ordinal), nonce...)
		return append([]byte(proxyLabel), bind(metadata)...)
	}, plaintext)
	if err != nil {
		return ProxySealed{}, proxyError(err)
	}
	k.note(kms.KeyLastUsageTrackingOperationEncrypt, use)
	return ProxySealed{Metadata: metadata, IV: sealed.IV, Ciphertext: sealed.Ciphertext}, nil
}

func (k proxiedKey) encryptChecked(ctx context.Context, use ProxyUse, bind Bind, plaintext []byte, made func(ProxySealed)) (ProxySealed, error) {
	sealed, err := k.encrypt(ctx, use, bind, plaintext)
	if err != nil {
		return sealed, err
	}
	made(sealed)
	back, err := k.opened(ctx, bind, sealed)
	defer clear(back)
	if errors.Is(err, ErrExternalText) || err == nil && !bytes.Equal(back, plaintext) {
		return sealed, hsm.ErrNotOpened
	}
	return sealed, err
}

func (k proxiedKey) decrypt(ctx context.Context, use ProxyUse, bind Bind, sealed ProxySealed) ([]byte, error) {
	plaintext, err := k.opened(ctx, bind, sealed)
	if err != nil {
		return nil, err
	}
	k.note(kms.KeyLastUsageTrackingOperationDecrypt, use)
	return plaintext, nil
}

// opened decrypts without a record of it.
func (k proxiedKey) opened(ctx context.Context, bind Bind, sealed ProxySealed) ([]byte, error) {
	record, err := k.usable(ctx)
	if err != nil {
		return nil, err
	}
	if len(sealed.Metadata) < 4 {
		return nil, ErrExternalText
	}
	material := record.Material(binary.BigEndian.Uint32(sealed.Metadata))
	if material == nil || len(material.Blob) == 0 && len(material.ObjectID) == 0 {
		return nil, ErrExternalText
	}
	plaintext, err := k.service.domain.Decrypt(ctx, material, hsm.Sealed{
		Nonce: sealed.Metadata[4:], IV: sealed.IV, Ciphertext: sealed.Ciphertext,
	}, append([]byte(proxyLabel), bind(sealed.Metadata)...))
	if err != nil {
		return nil, proxyError(err)
	}
	return plaintext, nil
}

// note notes a use of the key, as an operation of KMS's own would, so that nobody deletes a key that
// an external key store needs.
func (k proxiedKey) note(operation kms.KeyLastUsageTrackingOperation, use ProxyUse) {
	k.service.lastUses.note(k.id, lastUse{operation: operation, at: k.service.now(), requestID: use.RequestID, eventID: use.EventID})
}

// proxiedObject is a key object in a token behind an external key. Its messages have no metadata
// of this program's: another proxy that follows the specification can open them, and theirs are
// opened here.
type proxiedObject struct{ key *hsm.ObjectKey }

func (k proxiedObject) status(ctx context.Context) (bool, []string, error) {
	fact, err := k.key.Fact(ctx)
	return err == nil, fact.Uses, objectError(err)
}

func (k proxiedObject) encrypt(ctx context.Context, _ ProxyUse, bind Bind, plaintext []byte) (ProxySealed, error) {
	sealed, err := k.key.Encrypt(ctx, bind(nil), plaintext)
	return ProxySealed{IV: sealed.IV, Ciphertext: sealed.Ciphertext}, objectError(err)
}

func (k proxiedObject) encryptChecked(ctx context.Context, _ ProxyUse, bind Bind, plaintext []byte, made func(ProxySealed)) (ProxySealed, error) {
	sealed, err := k.key.EncryptChecked(ctx, bind(nil), plaintext, func(sealed hsm.Sealed) {
		made(ProxySealed{IV: sealed.IV, Ciphertext: sealed.Ciphertext})
	})
	return ProxySealed{IV: sealed.IV, Ciphertext: sealed.Ciphertext}, objectError(err)
}

func (k proxiedObject) decrypt(ctx context.Context, _ ProxyUse, bind Bind, sealed ProxySealed) ([]byte, error) {
	plaintext, err := k.key.Decrypt(ctx, hsm.Sealed{IV: sealed.IV, Ciphertext: sealed.Ciphertext}, bind(sealed.Metadata))
	return plaintext, objectError(err)
}
