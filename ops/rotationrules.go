package ops

import (
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

const (
	standardPeriod = 365 // days, of EnableKeyRotation without a period
	onDemandLimit  = 25  // rotations on demand in the life of a key
	// quietTime is how long before an automatic rotation there is none on demand.
	quietTime = 20 * time.Minute
)

// rotationLimits says which keys an operation on rotation refuses whatever their state. Nothing
// writes to it.
var rotationLimits = map[string]struct {
	fixed    bool // keys whose spec does not rotate
	imported bool // keys with imported material
	replica  bool // replicas: rotation is the primary key's affair
}{
	"EnableKeyRotation":    {fixed: true, imported: true, replica: true},
	"DisableKeyRotation":   {fixed: true, imported: true, replica: true},
	"RotateKeyOnDemand":    {fixed: true, replica: true},
	"ListKeyRotations":     {fixed: true},
	"GetKeyRotationStatus": {}, // false for every key that does not rotate
}

// checkRotation refuses an operation on rotation that the key's kind or state forbids. For keys in
// a custom key store the state table does it. AWS sends no text for a spec that does not rotate.
func checkRotation(k key, operation string) error {
	refused := rotationLimits[operation]
	spec, _ := kms.SpecOf(k.Spec)
	switch {
	case refused.fixed && !spec.Rotates:
		return kms.UnsupportedOperationException.Err()
	case refused.imported && k.Origin == kms.OriginTypeExternal:
		return kms.Errorf(kms.UnsupportedOperationException, "%s origin is %s which is not valid for this operation.", k.arn, k.Origin)
	case refused.replica && k.Replica():
		return kms.Errorf(kms.UnsupportedOperationException, "%s is not a multi-region primary key.", k.arn)
	}
	return checkState(k, operation)
}

// checkOnDemand refuses a rotation on demand that the key's kind, state or history forbids.
func checkOnDemand(k key, operation string, now time.Time) error {
	if err := checkRotation(k, operation); err != nil {
		return err
	}
	if r := k.Rotation; r != nil && r.OnDemand >= onDemandLimit {
		return kms.Errorf(kms.LimitExceededException,
			"The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be performed for this key: %s", k.arn)
	}
	if r := k.Rotation; r != nil && r.Enabled && !r.Next.After(now.Add(quietTime)) {
		return kms.Errorf(kms.ConflictException,
			"The request was rejected because an automatic rotation of this key is currently in progress or scheduled to begin within the next 20 minutes.")
	}
	if k.Origin == kms.OriginTypeExternal && waitingMaterial(k.KeyRecord) == nil {
		return noneWaiting(k)
	}
	return nil
}

func noneWaiting(k key) error {
	return kms.Errorf(kms.KMSInvalidStateException, "No available key material pending rotation for the key: %s.", k.arn)
}

// waitingMaterial gives the imported material that a rotation would make current, nil if there is
// none. It is part of r.
func waitingMaterial(r *keystore.KeyRecord) *keystore.KeyMaterial {
	for i := range r.Materials {
		if m := &r.Materials[i]; m.Ordinal > r.Current && m.Present() {
			return m
		}
	}
	return nil
}
