package ops

import (
	"context"
	"errors"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// storeTypes are the origins of keys in custom key stores. Nothing writes to it.
var storeTypes = map[kms.OriginType]kms.CustomKeyStoreType{
	kms.OriginTypeAwsCloudhsm:      kms.CustomKeyStoreTypeAwsCloudhsm,
	kms.OriginTypeExternalKeyStore: kms.CustomKeyStoreTypeExternalKeyStore,
}

// storeForKey finds the connected custom key store that a new key is to be in, and refuses what keys
// in such stores cannot be.
func (s *Service) storeForKey(ctx context.Context, call *Call, in *kms.CreateKeyRequest, spec kms.KeySpec) (*keystore.CustomKeyStoreRecord, error) {
	of, stored := storeTypes[in.Origin]
	external := of == kms.CustomKeyStoreTypeExternalKeyStore
	switch {
	case !stored && in.CustomKeyStoreId != "":
		return nil, kms.Errorf(kms.ValidationException, "CustomKeyStoreId is valid only when Origin is AWS_CLOUDHSM or EXTERNAL_KEY_STORE.")
	case !external && in.XksKeyId != "":
		return nil, kms.Errorf(kms.ValidationException, "XksKeyId is valid only for keys in an external key store.")
	case in.CustomKeyStoreId == "":
		return nil, kms.Errorf(kms.ValidationException, "CustomKeyStoreId is required when Origin is %s.", in.Origin)
	case external && in.XksKeyId == "":
		return nil, kms.Errorf(kms.ValidationException, "XksKeyId is required when Origin is %s.", in.Origin)
	case in.MultiRegion:
		return nil, kms.Errorf(kms.UnsupportedOperationException, "You cannot create a multi-Region key in a custom key store.")
	case spec != kms.KeySpecSymmetricDefault:
		return nil, kms.Errorf(kms.UnsupportedOperationException, "KeySpec %s is not supported in a custom key store, which holds symmetric encryption keys only.", spec)
	}
	store, err := s.keyStore(ctx, call, in.CustomKeyStoreId)
	switch {
	case err != nil:
		return nil, err
	case store.Type != of:
		return nil, kms.Errorf(kms.ValidationException, "Origin %s is not valid for the custom key store %s, whose type is %s.", in.Origin, store.ID, store.Type)
	case store.State != kms.ConnectionStateTypeConnected:
		return nil, wrongKeyStoreState(store, call.Operation)
	}
	return store, nil
}

// firstStoredMaterial makes the material of a new key in a custom key store: an object in the store's
// token, or material of the domain for an external key that the proxy says is fit. It gives what
// destroys it where it is.
func (s *Service) firstStoredMaterial(ctx context.Context, call *Call, r *keystore.KeyRecord, store *keystore.CustomKeyStoreRecord) (destroy func(context.Context, *kms.Material) error, err error) {
	if store.External != nil {
		if err := s.checkExternalKeyOf(ctx, call, r, store); err != nil {
			return nil, err
		}
		return s.destroy, s.firstMaterial(ctx, r)
	}
	vault, err := s.vaultOf(ctx, store)
	if err != nil {
		return nil, storeTokenError(err)
	}
	id, _, _ := kms.KeyIDBytes(r.ID)
	material, err := vault.GenerateKey(ctx, id[:], r.ID)
	if err != nil {
		return nil, storeTokenError(err)
	}
	material.Ordinal, material.Created = 1, r.Created
	r.Materials, r.Current = []keystore.KeyMaterial{{Material: material}}, material.Ordinal
	return vault.Destroy, nil
}

// checkExternalKeyOf asks the proxy for the external key of a new key.
func (s *Service) checkExternalKeyOf(ctx context.Context, call *Call, r *keystore.KeyRecord, store *keystore.CustomKeyStoreRecord) error {
	err := s.store.Update(ctx, func(tx *keystore.Tx) error {
		taken, err := tx.ExternalKeyTaken(store.CustomKeyStoreID(), r.XksKeyID)
		if taken {
			return errExternalKeyTaken(r)
		}
		return err
	})
	if err != nil {
		return err
	}
	proxy, err := s.proxyOf(ctx, store)
	if err != nil {
		return externalKeyError(err)
	}
	external, err := proxy.Describe(ctx, proxyCall(call, ""), r.XksKeyID)
	if err != nil {
		return externalKeyError(err)
	}
	return checkExternalKey(external)
}

func errExternalKeyTaken(r *keystore.KeyRecord) error {
	return kms.Errorf(kms.XksKeyAlreadyInUseException, "The external key %s is already associated with a KMS key in the custom key store %s.", r.XksKeyID, r.CustomKeyStoreID)
}

// createKey writes the record of a new key, if the custom key store that it is in is still there and
// has no other key with the external key.
func createKey(tx *keystore.Tx, r *keystore.KeyRecord) error {
	store, in := r.Home()
	if !in {
		return tx.CreateKey(r)
	}
	if _, err := tx.CustomKeyStore(store); errors.Is(err, keystore.ErrNotFound) {
		return noSuchKeyStore(store.ID)
	} else if err != nil {
		return err
	}
	if r.XksKeyID != "" {
		taken, err := tx.ExternalKeyTaken(store, r.XksKeyID)
		if err != nil {
			return err
		}
		if taken {
			return errExternalKeyTaken(r)
		}
	}
	return tx.CreateKey(r)
}

// storeTokenError is what CreateKey and GenerateRandom make of an error of a custom key store's token.
func storeTokenError(err error) error {
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, hsm.ErrTokenDown), errors.Is(err, hsm.ErrPIN), errors.Is(err, hsm.ErrNotFound), errors.Is(err, errNotConnected):
		return kms.Errorf(kms.CustomKeyStoreInvalidStateException, clusterText).Because(err)
	}
	return kms.Errorf(kms.CloudHsmClusterInvalidConfigurationException, "The AWS CloudHSM cluster that is associated with the custom key store cannot do what the operation needs.").Because(err)
}
