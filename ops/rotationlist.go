package ops

import (
	"context"
	"fmt"
	"strconv"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

const defaultListRotations = 100

// ListKeyRotations implements the operation ListKeyRotations: the materials that rotations made
// current, or all, in the order in which the key got them.
func (s *Service) ListKeyRotations(ctx context.Context, call *Call, in *kms.ListKeyRotationsRequest) (*kms.ListKeyRotationsResponse, error) {
	k, err := s.rotationKey(ctx, call, in.KeyId)
	if err != nil {
		return nil, err
	}
	if err := checkRotation(k, call.Operation); err != nil {
		return nil, err
	}
	after, err := openRotationMarker(call, in.Marker)
	if err != nil {
		return nil, err
	}
	var listed []*keystore.KeyMaterial
	for i := range k.Materials {
		if m := &k.Materials[i]; in.IncludeKeyMaterial == kms.IncludeKeyMaterialAllKeyMaterial || !m.Rotated.IsZero() {
			listed = append(listed, m)
		}
	}
	part, more := page(listed, after, limitOr(in.Limit, defaultListRotations), rotationName)
	out := &kms.ListKeyRotationsResponse{Rotations: make([]kms.RotationsListEntry, 0, len(part)), Truncated: more}
	for _, m := range part {
		entry, err := s.rotationEntry(ctx, k, m)
		if err != nil {
			return nil, err
		}
		out.Rotations = append(out.Rotations, entry)
	}
	if more {
		out.NextMarker = marker(call.Operation, rotationName(part[len(part)-1]))
	}
	return out, nil
}

// rotationName is a material's ordinal with a fixed width, so that names are in its order.
func rotationName(m *keystore.KeyMaterial) string { return fmt.Sprintf("%010d", m.Ordinal) }

func openRotationMarker(call *Call, marker string) (after string, err error) {
	if after, err = openMarker(call.Operation, marker); err != nil || after == "" {
		return "", err
	}
	if _, err := strconv.ParseUint(after, 10, 32); err != nil || len(after) != 10 {
		return "", kms.Errorf(kms.InvalidMarkerException, "The marker is not valid.")
	}
	return after, nil
}

// rotationEntry is what the list says of a material. AWS gives the bare key id here.
func (s *Service) rotationEntry(ctx context.Context, k key, m *keystore.KeyMaterial) (kms.RotationsListEntry, error) {
	state, err := s.materialState(ctx, k, m)
	entry := kms.RotationsListEntry{
		KeyId:            k.ID,
		KeyMaterialId:    m.ID,
		KeyMaterialState: state,
		RotationDate:     kms.TimestampOf(m.Rotated),
		RotationType:     m.RotationType,
	}
	if k.Origin != kms.OriginTypeExternal {
		return entry, err
	}
	entry.KeyMaterialDescription = m.Description
	entry.ImportState = kms.ImportStatePendingImport
	if m.Present() {
		entry.ImportState = kms.ImportStateImported
		entry.ExpirationModel = m.ExpirationModel
		entry.ValidTo = kms.TimestampOf(m.ValidTo)
	}
	return entry, err
}

// materialState says what a key does with a material. One that waits can become current only when
// the related keys have it too.
func (s *Service) materialState(ctx context.Context, k key, m *keystore.KeyMaterial) (kms.KeyMaterialState, error) {
	switch {
	case m.Ordinal < k.Current:
		return kms.KeyMaterialStateNonCurrent, nil
	case m.Ordinal == k.Current:
		return kms.KeyMaterialStateCurrent, nil
	}
	all, err := heldByAll(s.keys(ctx), k.KeyRecord, m)
	if err != nil {
		return "", err
	}
	if !all {
		return kms.KeyMaterialStatePendingMultiRegionImportAndRotation, nil
	}
	return kms.KeyMaterialStatePendingRotation, nil
}
