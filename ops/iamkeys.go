package ops

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/kms11/kms11/keystore"
)

// CreateAccessKeyRequest asks for one more access key of a user.
type CreateAccessKeyRequest struct {
	Account string `json:"account,omitempty"`
	User    string `json:"user"`
}

// CreateAccessKey makes an access key. Its secret is in the answer and can never be read again.
func (s *Service) CreateAccessKey(ctx context.Context, call *Call, in *CreateAccessKeyRequest) (AccessKey, error) {
	key, record, err := s.sealedKey(ctx)
	if err != nil {
		return AccessKey{}, err
	}
	_, err = s.editUser(ctx, call, s.userID(in.Account, in.User), func(tx *keystore.Tx, user *keystore.UserRecord) error {
		return addKey(tx, user, record)
	})
	if err != nil {
		return AccessKey{}, err
	}
	return key, nil
}

// sealedKey makes an access key and the record of it, without a user.
func (s *Service) sealedKey(ctx context.Context) (AccessKey, *keystore.AccessKeyRecord, error) {
	key := newAccessKey(longKeyPrefix)
	sealed, err := s.domain.Seal(ctx, sealPurpose(key.ID), []byte(key.Secret))
	return key, &keystore.AccessKeyRecord{ID: key.ID, SealedSecret: sealed, Created: s.now()}, err
}

// addKey gives a user an access key.
func addKey(tx *keystore.Tx, user *keystore.UserRecord, record *keystore.AccessKeyRecord) error {
	if len(user.AccessKeys) >= maxAccessKeys {
		return identityErrorf(LimitExceeded, "Cannot exceed quota for AccessKeysPerUser: %d", maxAccessKeys)
	}
	r := record.Clone() // the transaction may run again
	r.Account, r.PrincipalARN = user.Account, user.ARN
	user.AccessKeys = append(user.AccessKeys, r.ID)
	return tx.CreateAccessKey(r)
}

// AccessKeyRequest names an access key.
type AccessKeyRequest struct {
	ID string `json:"accessKeyId"`
}

// RotateAccessKeyRequest asks for an access key in place of another.
type RotateAccessKeyRequest struct {
	ID string `json:"accessKeyId"`
	// DeleteOld deletes the other one; else it is disabled, and can be enabled again.
	DeleteOld bool `json:"deleteOld,omitempty"`
}

// RotateAccessKey makes a new access key for the user of an old one, which is good for nothing from
// then on. To let both work for a while, create a key and disable the old one later.
func (s *Service) RotateAccessKey(ctx context.Context, call *Call, in *RotateAccessKeyRequest) (AccessKey, error) {
	key, record, err := s.sealedKey(ctx)
	if err != nil {
		return AccessKey{}, err
	}
	err = s.editAccessKey(ctx, call, in.ID, func(tx *keystore.Tx, user *keystore.UserRecord, old *keystore.AccessKeyRecord) error {
		old.Disabled = true
		if err := keepOrDelete(tx, user, old, in.DeleteOld); err != nil {
			return err
		}
		return addKey(tx, user, record)
	})
	if err != nil {
		return AccessKey{}, err
	}
	return key, nil
}

// EnableAccessKey lets a disabled access key be used again.
func (s *Service) EnableAccessKey(ctx context.Context, call *Call, in *AccessKeyRequest) (Done, error) {
	return s.switchKey(ctx, call, in.ID, false)
}

// DisableAccessKey has an access key refused.
func (s *Service) DisableAccessKey(ctx context.Context, call *Call, in *AccessKeyRequest) (Done, error) {
	return s.switchKey(ctx, call, in.ID, true)
}

func (s *Service) switchKey(ctx context.Context, call *Call, id string, disabled bool) (Done, error) {
	return Done{}, s.editAccessKey(ctx, call, id, func(tx *keystore.Tx, user *keystore.UserRecord, key *keystore.AccessKeyRecord) error {
		key.Disabled = disabled
		return keepOrDelete(tx, user, key, false)
	})
}

// DeleteAccessKey removes an access key.
func (s *Service) DeleteAccessKey(ctx context.Context, call *Call, in *AccessKeyRequest) (Done, error) {
	return Done{}, s.editAccessKey(ctx, call, in.ID, func(tx *keystore.Tx, user *keystore.UserRecord, key *keystore.AccessKeyRecord) error {
		return keepOrDelete(tx, user, key, true)
	})
}

// keepOrDelete writes an access key's record, or removes it from the store and from its user.
func keepOrDelete(tx *keystore.Tx, user *keystore.UserRecord, key *keystore.AccessKeyRecord, remove bool) error {
	if !remove {
		return tx.PutAccessKey(key)
	}
	user.AccessKeys = slices.DeleteFunc(user.AccessKeys, func(id string) bool { return id == key.ID })
	return tx.DeleteAccessKey(key.ID)
}

// editAccessKey changes an access key and the user that it belongs to, in one transaction.
func (s *Service) editAccessKey(ctx context.Context, call *Call, id string, change func(*keystore.Tx, *keystore.UserRecord, *keystore.AccessKeyRecord) error) error {
	if key, ok := s.files.Load().keys[id]; ok {
		return s.notInFile(key.user.UserID(), "The access key "+id)
	}
	return s.update(ctx, call, func(tx *keystore.Tx) error {
		record, err := tx.AccessKey(id)
		if errors.Is(err, keystore.ErrNotFound) {
			return noSuchKey(id)
		}
		if err != nil {
			return err
		}
		user, err := userToChange(tx, userOf(record))
		if errors.Is(err, NoSuchEntity) || err == nil && !owns(user, record) {
			return noSuchKey(id)
		}
		if err != nil {
			return err
		}
		call.belongs(user.Account)
		call.concerns(user.Name)
		if err := change(tx, user, record.Clone()); err != nil {
			return err
		}
		return tx.PutUser(user)
	})
}

// SealAccessKeyRequest asks for a secret to be sealed for a file of the identities directory.
type SealAccessKeyRequest struct {
	ID     string `json:"accessKeyId,omitempty"`     // empty: a new access key is made
	Secret string `json:"secretAccessKey,omitempty"` // empty: one is made
}

// SealedAccessKey is an access key whose secret only this domain's tokens can open.
type SealedAccessKey struct {
	ID     string `json:"accessKeyId"`
	Secret string `json:"secretAccessKey,omitempty"` // if it was made here
	Sealed []byte `json:"sealed"`
}

// SealAccessKey seals a secret for a file. Nothing is stored.
func (s *Service) SealAccessKey(ctx context.Context, _ *Call, in *SealAccessKeyRequest) (SealedAccessKey, error) {
	made := newAccessKey(longKeyPrefix)
	sealed := SealedAccessKey{ID: in.ID}
	if sealed.ID == "" {
		sealed.ID = made.ID
	}
	secret := in.Secret
	if secret == "" {
		secret, sealed.Secret = made.Secret, made.Secret
	}
	switch {
	case !accessKeyIDForm.MatchString(sealed.ID) || strings.HasPrefix(sealed.ID, temporaryIDPrefix):
		return SealedAccessKey{}, identityErrorf(ValidationError, "The access key id is not 16 to 128 letters and digits, or begins with %s.", temporaryIDPrefix)
	case len(secret) < minSecret:
		return SealedAccessKey{}, identityErrorf(ValidationError, "The secret has fewer than %d characters.", minSecret)
	}
	var err error
	sealed.Sealed, err = s.domain.Seal(ctx, filePurpose(sealed.ID), []byte(secret))
	return sealed, err
}
