package ops

import (
	"context"

	"github.com/kms11/kms11/kms"
)

// Operation is one row of the table of operations.
type Operation struct {
	Name string // AWS's name, as in the action "kms:<Name>"
	// Invoke decodes and validates the body and runs the operation. The output is nil for
	// operations without output; the body is not kept.
	Invoke func(ctx context.Context, s *Service, call *Call, body []byte) (output kms.Response, err error)
}

// request is what every generated request type can do.
type request[In any] interface {
	*In
	Decode(body []byte) error
	kms.Audited
}

// responseOf is what every generated response type can do.
type responseOf[Out any] interface {
	*Out
	kms.Response
}

// operation is a row for a method with an output. Its success is a use of the keys that the method
// named by Call.uses.
func operation[In, Out any, P request[In], R responseOf[Out]](name string, method func(*Service, context.Context, *Call, *In) (*Out, error)) Operation {
	return Operation{Name: name, Invoke: func(ctx context.Context, s *Service, call *Call, body []byte) (kms.Response, error) {
		in := new(In)
		if err := P(in).Decode(body); err != nil {
			return nil, err
		}
		call.begin(ctx, name, P(in))
		if err := s.admit(call, in); err != nil {
			return nil, err
		}
		out, err := method(s, ctx, call, in)
		if err != nil {
			return nil, err
		}
		s.noteUses(call)
		return R(out), nil
	}}
}

// silent is a row for a method without an output.
func silent[In any, P request[In]](name string, method func(*Service, context.Context, *Call, *In) error) Operation {
	return Operation{Name: name, Invoke: func(ctx context.Context, s *Service, call *Call, body []byte) (kms.Response, error) {
		in := new(In)
		if err := P(in).Decode(body); err != nil {
			return nil, err
		}
		call.begin(ctx, name, P(in))
		if err := s.admit(call, in); err != nil {
			return nil, err
		}
		return nil, method(s, ctx, call, in)
	}}
}

// OperationNames are the names of all operations.
func OperationNames() []string {
	var names []string
	for _, operation := range operations() {
		names = append(names, operation.Name)
	}
	return names
}

// operations is the table of all operations of AWS KMS, by name.
func operations() []Operation {
	return []Operation{
		operation("CancelKeyDeletion", (*Service).CancelKeyDeletion),
		operation("ConnectCustomKeyStore", (*Service).ConnectCustomKeyStore),
		silent("CreateAlias", (*Service).CreateAlias),
		operation("CreateCustomKeyStore", (*Service).CreateCustomKeyStore),
		operation("CreateGrant", (*Service).CreateGrant),
		operation("CreateKey", (*Service).CreateKey),
		operation("Decapsulate", (*Service).Decapsulate),
		operation("Decrypt", (*Service).Decrypt),
		silent("DeleteAlias", (*Service).DeleteAlias),
		operation("DeleteCustomKeyStore", (*Service).DeleteCustomKeyStore),
		operation("DeleteImportedKeyMaterial", (*Service).DeleteImportedKeyMaterial),
		operation("DeriveSharedSecret", (*Service).DeriveSharedSecret),
		operation("DescribeCustomKeyStores", (*Service).DescribeCustomKeyStores),
		operation("DescribeKey", (*Service).DescribeKey),
		silent("DisableKey", (*Service).DisableKey),
		silent("DisableKeyRotation", (*Service).DisableKeyRotation),
		operation("DisconnectCustomKeyStore", (*Service).DisconnectCustomKeyStore),
		silent("EnableKey", (*Service).EnableKey),
		silent("EnableKeyRotation", (*Service).EnableKeyRotation),
		operation("Encapsulate", (*Service).Encapsulate),
		operation("Encrypt", (*Service).Encrypt),
		operation("GenerateDataKey", (*Service).GenerateDataKey),
		operation("GenerateDataKeyPair", (*Service).GenerateDataKeyPair),
		operation("GenerateDataKeyPairWithoutPlaintext", (*Service).GenerateDataKeyPairWithoutPlaintext),
		operation("GenerateDataKeyWithoutPlaintext", (*Service).GenerateDataKeyWithoutPlaintext),
		operation("GenerateMac", (*Service).GenerateMac),
		operation("GenerateRandom", (*Service).GenerateRandom),
		operation("GetKeyLastUsage", (*Service).GetKeyLastUsage),
		operation("GetKeyPolicy", (*Service).GetKeyPolicy),
		operation("GetKeyRotationStatus", (*Service).GetKeyRotationStatus),
		operation("GetParametersForImport", (*Service).GetParametersForImport),
		operation("GetPublicKey", (*Service).GetPublicKey),
		operation("ImportKeyMaterial", (*Service).ImportKeyMaterial),
		operation("ListAliases", (*Service).ListAliases),
		operation("ListGrants", (*Service).ListGrants),
		operation("ListKeyPolicies", (*Service).ListKeyPolicies),
		operation("ListKeyRotations", (*Service).ListKeyRotations),
		operation("ListKeys", (*Service).ListKeys),
		operation("ListResourceTags", (*Service).ListResourceTags),
		operation("ListRetirableGrants", (*Service).ListRetirableGrants),
		silent("PutKeyPolicy", (*Service).PutKeyPolicy),
		operation("ReEncrypt", (*Service).ReEncrypt),
		operation("ReplicateKey", (*Service).ReplicateKey),
		silent("RetireGrant", (*Service).RetireGrant),
		silent("RevokeGrant", (*Service).RevokeGrant),
		operation("RotateKeyOnDemand", (*Service).RotateKeyOnDemand),
		operation("ScheduleKeyDeletion", (*Service).ScheduleKeyDeletion),
		operation("Sign", (*Service).Sign),
		silent("TagResource", (*Service).TagResource),
		silent("UntagResource", (*Service).UntagResource),
		silent("UpdateAlias", (*Service).UpdateAlias),
		operation("UpdateCustomKeyStore", (*Service).UpdateCustomKeyStore),
		silent("UpdateKeyDescription", (*Service).UpdateKeyDescription),
		silent("UpdatePrimaryRegion", (*Service).UpdatePrimaryRegion),
		operation("Verify", (*Service).Verify),
		operation("VerifyMac", (*Service).VerifyMac),
	}
}
