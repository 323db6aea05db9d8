package ops

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/policy"
)

// This file computes the condition keys that are about the request's parameters and the key. Each
// function is asked for the actions of its row only; for an input of another type it gives nothing.

// of gives one value of an input of type In.
func of[In any](q *question, value func(*In) string) policy.Values {
	if in, ok := q.input.(*In); ok {
		return policy.OneOf(value(in))
	}
	return policy.Values{}
}

func bypasses(q *question, _ string) policy.Values {
	switch in := q.input.(type) {
	case *kms.CreateKeyRequest:
		return boolValue(in.BypassPolicyLockoutSafetyCheck)
	case *kms.PutKeyPolicyRequest:
		return boolValue(in.BypassPolicyLockoutSafetyCheck)
	case *kms.ReplicateKeyRequest: // which needs kms:CreateKey
		return boolValue(in.BypassPolicyLockoutSafetyCheck)
	}
	return policy.Values{}
}

func pairSpec(q *question, _ string) policy.Values {
	switch in := q.input.(type) {
	case *kms.GenerateDataKeyPairRequest:
		return policy.OneOf(string(in.KeyPairSpec))
	case *kms.GenerateDataKeyPairWithoutPlaintextRequest:
		return policy.OneOf(string(in.KeyPairSpec))
	}
	return policy.Values{}
}

func encryptionAlgorithmOf(q *question, _ string) policy.Values {
	var given kms.EncryptionAlgorithmSpec
	switch in := q.input.(type) {
	case *kms.EncryptRequest:
		given = in.EncryptionAlgorithm
	case *kms.DecryptRequest:
		given = in.EncryptionAlgorithm
	case *kms.ReEncryptRequest:
		given = in.SourceEncryptionAlgorithm
		if side(q.action) == 1 {
			given = in.DestinationEncryptionAlgorithm
		}
	case nil, *hypothetical:
		return policy.Values{}
	}
	return policy.One(encryptionAlgorithm(given))
}

// encryptionContext is the context that the request encrypts or decrypts with, or to which a grant
// would be constrained.
func encryptionContext(q *question) map[string]string {
	switch in := q.input.(type) {
	case *kms.EncryptRequest:
		return in.EncryptionContext
	case *kms.DecryptRequest:
		return in.EncryptionContext
	case *kms.GenerateDataKeyRequest:
		return in.EncryptionContext
	case *kms.GenerateDataKeyWithoutPlaintextRequest:
		return in.EncryptionContext
	case *kms.GenerateDataKeyPairRequest:
		return in.EncryptionContext
	case *kms.GenerateDataKeyPairWithoutPlaintextRequest:
		return in.EncryptionContext
	case *kms.ReEncryptRequest:
		if side(q.action) == 1 {
			return in.DestinationEncryptionContext
		}
		return in.SourceEncryptionContext
	case *kms.CreateGrantRequest:
		if c := in.Constraints; c != nil {
			if len(c.EncryptionContextSubset) == 0 {
				return c.EncryptionContextEquals
			}
			return mergedPairs(c.EncryptionContextSubset, c.EncryptionContextEquals)
		}
	case *hypothetical:
		return in.context
	}
	return nil
}

func mergedPairs(a, b map[string]string) map[string]string {
	if len(b) == 0 {
		return a
	}
	merged := maps.Clone(a)
	maps.Copy(merged, b)
	return merged
}

func eachPair(pairs map[string]string, do func(key, value string)) {
	for key, value := range pairs {
		do(key, value)
	}
}

func contextValue(q *question, part string) policy.Values {
	pairs := encryptionContext(q) // which may be of any number, unlike tags
	return foldedValue(part, pairs, eachPair).After(len(pairs))
}

func contextKeys(q *question, _ string) policy.Values {
	return policy.Many(slices.Sorted(maps.Keys(encryptionContext(q))))
}

func expirationModel(q *question, _ string) policy.Values {
	return of(q, func(in *kms.ImportKeyMaterialRequest) string {
		return string(cmp.Or(in.ExpirationModel, kms.ExpirationModelTypeKeyMaterialExpires))
	})
}

func validTo(q *question, _ string) policy.Values {
	return of(q, func(in *kms.ImportKeyMaterialRequest) string {
		if in.ValidTo.IsZero() {
			return ""
		}
		return in.ValidTo.UTC().Format(time.RFC3339Nano)
	})
}

func grantConstraintSource(q *question, _ string) policy.Values {
	return of(q, func(in *kms.CreateGrantRequest) string {
		if in.Constraints == nil {
			return ""
		}
		return in.Constraints.SourceArn
	})
}

func grantConstraintTypes(q *question, _ string) policy.Values {
	in, _ := q.input.(*kms.CreateGrantRequest)
	if in == nil || in.Constraints == nil {
		return policy.Values{}
	}
	var types []string
	for _, constraint := range []struct {
		there bool
		name  string
	}{
		{len(in.Constraints.EncryptionContextEquals) > 0, "EncryptionContextEquals"},
		{len(in.Constraints.EncryptionContextSubset) > 0, "EncryptionContextSubset"},
		{in.Constraints.SourceArn != "", "SourceArn"},
	} {
		if constraint.there {
			types = append(types, constraint.name)
		}
	}
	return policy.Many(types)
}

// grantParty gives the grantee, the grantee service, the retiring principal or the retiring service.
func grantParty(which int) func(*question, string) policy.Values {
	return func(q *question, _ string) policy.Values {
		return of(q, func(in *kms.CreateGrantRequest) string {
			return [...]string{in.GranteePrincipal, in.GranteeServicePrincipal, in.RetiringPrincipal, in.RetiringServicePrincipal}[which]
		})
	}
}

func operationsOfGrant(q *question, _ string) policy.Values {
	in, ok := q.input.(*kms.CreateGrantRequest)
	if !ok {
		return policy.Values{}
	}
	names := make([]string, len(in.Operations))
	for i, operation := range in.Operations {
		names[i] = string(operation)
	}
	return policy.Many(names)
}

func agreementAlgorithm(q *question, _ string) policy.Values {
	return of(q, func(in *kms.DeriveSharedSecretRequest) string { return string(in.KeyAgreementAlgorithm) })
}

func macAlgorithm(q *question, _ string) policy.Values {
	switch in := q.input.(type) {
	case *kms.GenerateMacRequest:
		return policy.OneOf(string(in.MacAlgorithm))
	case *kms.VerifyMacRequest:
		return policy.OneOf(string(in.MacAlgorithm))
	}
	return policy.Values{}
}

func messageType(q *question, _ string) policy.Values {
	switch in := q.input.(type) {
	case *kms.SignRequest:
		return policy.One(string(cmp.Or(in.MessageType, kms.MessageTypeRaw)))
	case *kms.VerifyRequest:
		return policy.One(string(cmp.Or(in.MessageType, kms.MessageTypeRaw)))
	}
	return policy.Values{}
}

func signingAlgorithm(q *question, _ string) policy.Values {
	switch in := q.input.(type) {
	case *kms.SignRequest:
		return policy.OneOf(string(in.SigningAlgorithm))
	case *kms.VerifyRequest:
		return policy.OneOf(string(in.SigningAlgorithm))
	}
	return policy.Values{}
}

func primaryRegion(q *question, _ string) policy.Values {
	return of(q, func(in *kms.UpdatePrimaryRegionRequest) string { return in.PrimaryRegion })
}

func replicaRegion(q *question, _ string) policy.Values {
	return of(q, func(in *kms.ReplicateKeyRequest) string { return in.ReplicaRegion })
}

// attestedMeasurement gives a measurement of the enclave that the answer is for. Of a document that
// does not verify it gives nothing.
func attestedMeasurement(q *question, part string) policy.Values {
	var in *kms.RecipientInfo
	switch input := q.input.(type) {
	case *kms.DecryptRequest:
		in = input.Recipient
	case *kms.DeriveSharedSecretRequest:
		in = input.Recipient
	case *kms.GenerateDataKeyRequest:
		in = input.Recipient
	case *kms.GenerateDataKeyPairRequest:
		in = input.Recipient
	case *kms.GenerateRandomRequest:
		in = input.Recipient
	}
	to, err := q.service.attested(q.call, in)
	if to == nil || err != nil {
		return policy.Values{}
	}
	const prefix = "kms:RecipientAttestation:"
	for name, value := range to.document.ConditionKeys() {
		if strings.EqualFold(strings.TrimPrefix(name, prefix), part) {
			return policy.One(value)
		}
	}
	return policy.Values{}
}

// onSameKey says whether both keys of a ReEncrypt are the same one. While the source is asked about,
// the destination has not been looked up yet.
func onSameKey(q *question, _ string) policy.Values {
	in, ok := q.input.(*kms.ReEncryptRequest)
	if !ok {
		return policy.Values{}
	}
	if side(q.action) == 1 {
		source := q.call.used[0]
		return boolValue(source != nil && source.KeyID() == q.key.KeyID())
	}
	aliases := q.aliases
	destination, err := q.service.resolveFor(q.context(), q.call, "ReEncryptTo", in.DestinationKeyId)
	q.aliases = aliases
	return boolValue(err == nil && destination.KeyID() == q.key.KeyID())
}

// context is the request's, or that of a call that no request began.
func (q *question) context() context.Context {
	if q.ctx == nil {
		return context.Background()
	}
	return q.ctx
}

func requestAlias(q *question, _ string) policy.Values {
	return policy.OneOf(q.aliases[side(q.action)])
}

func rotationPeriod(q *question, _ string) policy.Values {
	return of(q, func(in *kms.EnableKeyRotationRequest) string {
		return strconv.Itoa(limitOr(in.RotationPeriodInDays, standardPeriod))
	})
}

func pendingWindow(q *question, _ string) policy.Values {
	return of(q, func(in *kms.ScheduleKeyDeletionRequest) string {
		return strconv.Itoa(limitOr(in.PendingWindowInDays, defaultWindow))
	})
}

func wrappingAlgorithm(q *question, _ string) policy.Values {
	return of(q, func(in *kms.GetParametersForImportRequest) string { return string(in.WrappingAlgorithm) })
}

func wrappingKeySpec(q *question, _ string) policy.Values {
	return of(q, func(in *kms.GetParametersForImportRequest) string { return string(in.WrappingKeySpec) })
}
