package ops

import (
	"context"
	"errors"
	"slices"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// GetParametersForImport implements the operation GetParametersForImport. Nothing is stored: what
// ImportKeyMaterial needs is in the import token, sealed.
func (s *Service) GetParametersForImport(ctx context.Context, call *Call, in *kms.GetParametersForImportRequest) (*kms.GetParametersForImportResponse, error) {
	k, err := s.resolve(ctx, call, in.KeyId)
	if err != nil {
		return nil, err
	}
	if err := s.authorizeKey(call, k); err != nil {
		return nil, err
	}
	if err := checkState(k, call.Operation); err != nil {
		return nil, err
	}
	if err := s.checkWrapping(k, in.WrappingAlgorithm, in.WrappingKeySpec); err != nil {
		return nil, err
	}
	d, err := s.domainIn(k.Region)
	if err != nil {
		return nil, tokenError(err)
	}
	pair, err := d.ImportPair(ctx, in.WrappingKeySpec)
	if err != nil {
		return nil, tokenError(err)
	}
	expires := kms.TimestampOf(s.now().Add(importTokenLife))
	sealed, err := s.sealImportToken(ctx, d, k, &importToken{algorithm: in.WrappingAlgorithm, spec: in.WrappingKeySpec, expires: expires.Time, pair: pair})
	if err != nil {
		return nil, err
	}
	return &kms.GetParametersForImportResponse{KeyId: k.arn, ImportToken: sealed, PublicKey: pair.PublicKey, ParametersValidTo: expires}, nil
}

// ImportKeyMaterial implements the operation ImportKeyMaterial. The token takes the material first
// and the record comes last, as with CreateKey.
func (s *Service) ImportKeyMaterial(ctx context.Context, call *Call, in *kms.ImportKeyMaterialRequest) (*kms.ImportKeyMaterialResponse, error) {
	now := s.now().UTC()
	model, validTo, err := validity(in, now)
	if err != nil {
		return nil, err
	}
	k, err := s.resolve(ctx, call, in.KeyId)
	if err != nil {
		return nil, err
	}
	if err := s.authorizeKey(call, k); err != nil {
		return nil, err
	}
	if err := checkState(k, call.Operation); err != nil {
		return nil, err
	}
	if _, err := importType(k, in); err != nil {
		return nil, err
	}
	d, err := s.domainIn(k.Region)
	if err != nil {
		return nil, tokenError(err)
	}
	token, err := s.openImportToken(ctx, d, k, in.ImportToken)
	if err != nil {
		return nil, err
	}
	material, err := d.ImportKey(ctx, hsm.ImportRequest{
		KeyRequest:  hsm.KeyRequest{Spec: k.Spec, Usage: k.Usage, KeyID: k.ID, Scheme: sharedScheme(k.KeyRecord)},
		Pair:        &token.pair,
		WrappingKey: token.spec,
		Algorithm:   token.algorithm,
		Wrapped:     in.EncryptedKeyMaterial,
	})
	switch {
	case errors.Is(err, hsm.ErrBadMaterial):
		return nil, incorrectMaterial(err)
	case errors.Is(err, hsm.ErrNotFound): // the domain key that wrapped the pair is gone
		return nil, invalidImportToken(err)
	case err != nil:
		return nil, tokenError(err)
	}
	material.Created = now
	came := keystore.KeyMaterial{Material: material, Description: in.KeyMaterialDescription, ExpirationModel: model, ValidTo: validTo}
	err = s.update(ctx, call, func(tx *keystore.Tx) error { return s.putImport(tx, call, k, in, came) })
	// An object in the token that is there twice now goes, too.
	abandoned := s.abandon(ctx, k.KeyID(), &material)
	if err != nil {
		return nil, errors.Join(err, abandoned)
	}
	if abandoned != nil {
		s.log.Warn("imported key material that was there already stays in the token", "key", k.arn, "error", abandoned)
	}
	return &kms.ImportKeyMaterialResponse{KeyId: k.arn, KeyMaterialId: material.ID}, nil
}

// putImport gives a key material that the token has taken in.
func (s *Service) putImport(tx *keystore.Tx, call *Call, k key, in *kms.ImportKeyMaterialRequest, came keystore.KeyMaterial) error {
	current, err := currentKey(tx, k)
	if err != nil {
		return err
	}
	if err := checkState(current, call.Operation); err != nil {
		return err
	}
	isNew, err := importType(current, in)
	if err != nil {
		return err
	}
	if current.MultiRegion != nil {
		if err := checkMovable(k.Spec, came); err != nil {
			return err
		}
	}
	if in.KeyMaterialId != "" && in.KeyMaterialId != came.ID {
		return incorrectMaterial(nil)
	}
	changed := current.Clone()
	i := slices.IndexFunc(changed.Materials, func(m keystore.KeyMaterial) bool { return m.ID == came.ID })
	if isNew != (i < 0) {
		return incorrectMaterial(nil)
	}
	if isNew {
		if err := appendImport(key{KeyRecord: changed, arn: k.arn}, came); err != nil {
			return err
		}
		return putNamed(tx, changed)
	}
	importAgain(&changed.Materials[i], came)
	settle(changed)
	return putNamed(tx, changed)
}

// appendImport adds material that is new to a key: the first one is current, another one waits for
// a rotation.
func appendImport(k key, came keystore.KeyMaterial) error {
	came.Ordinal = 1
	if n := len(k.Materials); n > 0 {
		last := k.Materials[n-1]
		if last.Ordinal > k.Current {
			return kms.Errorf(kms.KMSInvalidStateException,
				"New key material (id: %s) cannot be imported into KMS key %s, because another key material (id: %s) is pending rotation.", came.ID, k.arn, last.ID)
		}
		came.Ordinal = last.Ordinal + 1
	}
	k.Materials = append(k.Materials, came)
	if k.Current == 0 {
		k.Current = came.Ordinal
	}
	settle(k.KeyRecord)
	return nil
}

// importAgain puts material that came back in its old place. What ciphertexts and clients know of
// it stays, a description that is not given again, and the material itself if it was never away.
func importAgain(m *keystore.KeyMaterial, came keystore.KeyMaterial) {
	if !m.Present() {
		came.Ordinal, came.Created, came.Scheme = m.Ordinal, m.Created, m.Scheme
		m.Material = came.Material
	}
	m.ExpirationModel, m.ValidTo = came.ExpirationModel, came.ValidTo
	if came.Description != "" {
		m.Description = came.Description
	}
}

// settle gives a key the state that goes with its materials: PendingImport as long as one of those
// that are or were current is missing.
func settle(r *keystore.KeyRecord) {
	lacks := lacksMaterial(r)
	switch {
	case lacks && (r.State == kms.KeyStateEnabled || r.State == kms.KeyStateDisabled):
		r.State = kms.KeyStatePendingImport
	case !lacks && r.State == kms.KeyStatePendingImport:
		r.State = kms.KeyStateEnabled
	}
}

// putNamed writes a key and has its replicas know its materials by name, so that they can be
// imported there too.
func putNamed(tx *keystore.Tx, r *keystore.KeyRecord) error {
	if err := tx.PutKey(r); err != nil || r.Replica() {
		return err
	}
	return eachRelative(tx.Key, r, func(relative *keystore.KeyRecord) error {
		replica := relative.Clone()
		replica.Current = r.Current
		for _, m := range r.Clone().Materials {
			theirs := sameMaterial(replica, &m)
			if theirs == nil {
				forgetImport(&m)
				replica.Materials = append(replica.Materials, m)
				continue
			}
			theirs.Description = m.Description
		}
		return tx.PutKey(replica)
	})
}
