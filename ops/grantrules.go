package ops

import (
	"context"
	"slices"
	"unicode/utf8"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

const (
	// maxConstraintPairs and maxConstraintValue, in characters, bound an encryption context in a
	// grant's constraint (API reference, CreateGrant).
	maxConstraintPairs = 8
	maxConstraintValue = 384
)

// checkGrant refuses a grant that a key cannot have (API reference, CreateGrant and
// GrantConstraints).
func (s *Service) checkGrant(ctx context.Context, k key, r *keystore.GrantRecord) error {
	if err := checkGrantParties(r); err != nil {
		return err
	}
	if err := checkGrantOperations(k, r.Operations); err != nil {
		return err
	}
	if err := checkConstraints(k, r); err != nil {
		return err
	}
	for _, principal := range []string{r.GranteePrincipal, r.RetiringPrincipal} {
		if err := s.checkPrincipal(ctx, k.Partition, principal); err != nil {
			return err
		}
	}
	return nil
}

// checkGrantParties refuses grantees and retiring principals that do not go together.
func checkGrantParties(r *keystore.GrantRecord) error {
	service := r.GranteeServicePrincipal != ""
	for _, rule := range []struct {
		broken bool
		text   string
	}{
		{(r.GranteePrincipal != "") == service, "Specify either GranteePrincipal or GranteeServicePrincipal."},
		{r.RetiringPrincipal != "" && r.RetiringServicePrincipal != "", "RetiringPrincipal and RetiringServicePrincipal cannot both be specified."},
		{service && r.SourceARN == "", "A grant for a service principal requires the SourceArn constraint."},
		{service && r.Retiring() == "", "A grant for a service principal requires RetiringPrincipal or RetiringServicePrincipal."},
	} {
		if rule.broken {
			return kms.Errorf(kms.ValidationException, "%s", rule.text)
		}
	}
	for _, name := range []string{r.GranteeServicePrincipal, r.RetiringServicePrincipal} {
		if err := checkService(name); err != nil {
			return err
		}
	}
	return nil
}

// checkGrantOperations refuses operations that cannot be used with the key.
func checkGrantOperations(k key, operations []kms.GrantOperation) error {
	if len(operations) == 0 {
		return kms.Errorf(kms.ValidationException, "1 validation error detected: Value '[]' at 'operations' failed to satisfy constraint: Member must have length greater than or equal to 1")
	}
	if slices.Equal(operations, []kms.GrantOperation{kms.GrantOperationCreateGrant}) {
		return kms.Errorf(kms.ValidationException, "Grants must not contain only the CreateGrant operation.")
	}
	for _, operation := range operations {
		if !grantable(k, operation) {
			return kms.Errorf(kms.ValidationException, "The grant operation %s is not valid for %s, whose key spec is %s and whose key usage is %s.",
				operation, k.arn, k.Spec, k.Usage)
		}
	}
	return nil
}

// grantable says whether an operation works on keys of this usage and family.
func grantable(k key, operation kms.GrantOperation) bool {
	spec, known := kms.SpecOf(k.Spec)
	fits, restricted := grantFamilies[operation]
	name := string(operation)
	if operation == kms.GrantOperationReEncryptFrom || operation == kms.GrantOperationReEncryptTo {
		name = "ReEncrypt"
	}
	return known && (!restricted || fits(spec.Family)) && kms.CheckUsage(name, k.arn, k.Usage) == nil
}

// grantFamilies says which keys an operation works on where the key usage does not say it. Nothing
// writes to it.
var grantFamilies = map[kms.GrantOperation]func(kms.Family) bool{
	kms.GrantOperationGenerateDataKey:                     isSymmetric,
	kms.GrantOperationGenerateDataKeyWithoutPlaintext:     isSymmetric,
	kms.GrantOperationGenerateDataKeyPair:                 isSymmetric,
	kms.GrantOperationGenerateDataKeyPairWithoutPlaintext: isSymmetric,
	kms.GrantOperationGetPublicKey:                        kms.Family.Asymmetric,
}

func isSymmetric(f kms.Family) bool { return f == kms.FamilySymmetric }

// checkConstraints refuses constraints on an encryption context that are too large, or for a key
// that has none.
func checkConstraints(k key, r *keystore.GrantRecord) error {
	equals, subset := r.EncryptionContextEquals, r.EncryptionContextSubset
	switch {
	case len(equals) > 0 && len(subset) > 0:
		return kms.Errorf(kms.ValidationException, "Specify either EncryptionContextEquals or EncryptionContextSubset.")
	case len(equals)+len(subset) == 0:
		return nil
	case k.Spec != kms.KeySpecSymmetricDefault:
		return kms.Errorf(kms.ValidationException, "Encryption context constraints are not valid for %s, whose key spec is %s.", k.arn, k.Spec)
	case len(equals)+len(subset) > maxConstraintPairs:
		return kms.Errorf(kms.ValidationException, "An encryption context constraint can have at most %d pairs.", maxConstraintPairs)
	}
	for _, context := range []map[string]string{equals, subset} {
		for _, value := range context {
			if utf8.RuneCountInString(value) > maxConstraintValue {
				return kms.Errorf(kms.ValidationException, "A value in an encryption context constraint can have at most %d characters.", maxConstraintValue)
			}
		}
	}
	return nil
}
