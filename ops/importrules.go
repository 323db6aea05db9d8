package ops

import (
	"slices"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

const (
	importTokenLife = 24 * time.Hour
	longestValidity = 365 * 24 * time.Hour // of imported material that expires
)

var (
	byOAEP    = []kms.AlgorithmSpec{kms.AlgorithmSpecRsaesOaepSha1, kms.AlgorithmSpecRsaesOaepSha256}
	byKeyWrap = []kms.AlgorithmSpec{kms.AlgorithmSpecRsaAesKeyWrapSha1, kms.AlgorithmSpecRsaAesKeyWrapSha256}
	byEither  = slices.Concat(byOAEP, byKeyWrap)
)

// importWrappings says how material of a family may be wrapped (AWS KMS Developer Guide, "Select a
// wrapping algorithm"). RSAES_PKCS1_V1_5 is gone since 2023. Nothing writes to it.
var importWrappings = map[kms.Family][]kms.AlgorithmSpec{
	kms.FamilySymmetric: byOAEP,
	kms.FamilyHMAC:      byOAEP,
	kms.FamilyRSA:       byKeyWrap, // too long for RSA alone
	kms.FamilyECC:       byEither,
	kms.FamilyEdwards:   byEither,
}

// checkImportable refuses specs whose material cannot be imported, or is of no use to the token.
// AWS's text is not known.
func (s *Service) checkImportable(region string, spec kms.KeySpec, usage kms.KeyUsageType) error {
	row, ok := kms.SpecOf(spec)
	// SM2: no wrapping brings a private key into the token unseen, nor tells its public half.
	if !ok || row.Import == kms.ImportNone || len(importWrappings[row.Family]) == 0 {
		return kms.Errorf(kms.UnsupportedOperationException, "KeySpec %s is not supported for Origin %s.", spec, kms.OriginTypeExternal)
	}
	able := s.algorithms(key{KeyRecord: &keystore.KeyRecord{Region: region, Spec: spec, Usage: usage}})
	if len(able.Encryption)+len(able.Signing)+len(able.Mac)+len(able.KeyAgreement) == 0 {
		return kms.Errorf(kms.UnsupportedOperationException, "KeySpec %s is not supported by the token.", spec)
	}
	return nil
}

// checkWrapping refuses a wrapping that material of the key's spec cannot have. AWS's texts are not
// known.
func (s *Service) checkWrapping(k key, algorithm kms.AlgorithmSpec, pair kms.WrappingKeySpec) error {
	spec, _ := kms.SpecOf(k.Spec)
	switch {
	case !slices.Contains(byEither, algorithm):
		return kms.Errorf(kms.UnsupportedOperationException, "Wrapping algorithm %s is not supported.", algorithm)
	case !slices.Contains(importPairs, pair):
		return kms.Errorf(kms.UnsupportedOperationException, "Wrapping key spec %s is not supported.", pair)
	case !slices.Contains(importWrappings[spec.Family], algorithm):
		return kms.Errorf(kms.UnsupportedOperationException, "Wrapping algorithm %s is incompatible with key spec %s.", algorithm, k.Spec)
	// The PKCS#8 form of such a key has 241 bytes, RSA_2048 with OAEP at most 214.
	case k.Spec == kms.KeySpecEccNistP521 && pair == kms.WrappingKeySpecRsa2048 && slices.Contains(byOAEP, algorithm):
		return kms.Errorf(kms.UnsupportedOperationException,
			"Wrapping algorithm %s with wrapping key spec %s is incompatible with key spec %s.", algorithm, pair, k.Spec)
	}
	d, err := s.domainIn(k.Region)
	if err != nil {
		return tokenError(err)
	}
	return tokenError(d.CanImport(k.Spec, algorithm))
}

// validity reads ExpirationModel and ValidTo. The time is one that clients are shown exactly.
func validity(in *kms.ImportKeyMaterialRequest, now time.Time) (kms.ExpirationModelType, time.Time, error) {
	validTo := kms.TimestampOf(in.ValidTo.Time).Time
	if in.ExpirationModel == kms.ExpirationModelTypeKeyMaterialDoesNotExpire {
		if !validTo.IsZero() {
			return "", time.Time{}, kms.Errorf(kms.ValidationException, "ValidTo can only be set if the ExpirationModel is KEY_MATERIAL_EXPIRES")
		}
		return in.ExpirationModel, time.Time{}, nil
	}
	switch {
	case validTo.IsZero():
		return "", validTo, kms.Errorf(kms.ValidationException, "A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES")
	case !validTo.After(now):
		return "", validTo, kms.Errorf(kms.ValidationException, "ValidTo must be in the future")
	case validTo.After(now.Add(longestValidity)):
		return "", validTo, kms.Errorf(kms.ValidationException, "ValidTo must be no later than 365 days from now")
	}
	return kms.ExpirationModelTypeKeyMaterialExpires, validTo, nil
}

// importType says whether an import brings material that is new to the key, and refuses members
// that go with the keys only that can have several materials.
func importType(k key, in *kms.ImportKeyMaterialRequest) (isNew bool, err error) {
	spec, _ := kms.SpecOf(k.Spec)
	if !spec.Rotates {
		for _, member := range []struct{ name, value string }{
			{"ImportType", string(in.ImportType)}, {"KeyMaterialId", in.KeyMaterialId}, {"KeyMaterialDescription", in.KeyMaterialDescription},
		} {
			if member.value != "" {
				return false, kms.Errorf(kms.UnsupportedOperationException, "%s is not supported for key spec %s.", member.name, k.Spec)
			}
		}
		return len(k.Materials) == 0 && !k.Replica(), nil
	}
	isNew = in.ImportType == kms.ImportTypeNewKeyMaterial ||
		in.ImportType == "" && len(k.Materials) == 0 && !k.Replica()
	switch {
	case isNew && k.Replica():
		return false, checkPrimary(k) // material comes to a replica after its primary key
	case in.ImportType == kms.ImportTypeNewKeyMaterial && in.KeyMaterialId != "":
		return false, kms.Errorf(kms.ValidationException, "KeyMaterialId cannot be specified when ImportType is NEW_KEY_MATERIAL.")
	}
	return isNew, nil
}

func incorrectMaterial(cause error) error {
	return kms.Errorf(kms.IncorrectKeyMaterialException,
		"The request was rejected because the key material in the request is, expired, invalid, or is not the same key material that was previously imported into this KMS key.").Because(cause)
}
