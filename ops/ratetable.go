package ops

import (
	"maps"
	"slices"
	"strings"

	"github.com/kms11/kms11/kms"
)

// The families of request quotas. Operations that share a quota at AWS are one family; every other
// operation is a family of its own, by its name.
const (
	familySymmetric = "symmetric" // symmetric and HMAC keys, random bytes
	familyRSA       = "rsa"
	familyECC       = "ecc" // elliptic curves and SM2
	familyMLDSA     = "ml-dsa"
	familyMLKEM     = "ml-kem"
	familyKeyStore  = "CustomKeyStore" // of each key store, not of an account
	// familyPair and a DataKeyPairSpec is the family of the data key pairs of that kind.
	familyPair = "GenerateDataKeyPair/"
)

// A rateFamily is AWS's default for one family, in requests a second (AWS KMS Developer Guide,
// "Request quotas", 2026).
type rateFamily struct {
	rate float64
	// regional are the Regions in which AWS's default is another one.
	regional map[string]float64
}

// of is AWS's default in a Region.
func (f rateFamily) of(region string) float64 {
	if rate, ok := f.regional[region]; ok {
		return rate
	}
	return f.rate
}

// rateFamilies are all families. For ML-KEM, which the guide's table does not have yet, the numbers are
// those of the other asymmetric keys. Nothing writes to it.
var rateFamilies = map[string]rateFamily{
	familySymmetric: {10_000, map[string]float64{
		"us-east-1": 100_000, "us-west-2": 100_000, "eu-west-1": 100_000,
		"us-east-2": 20_000, "ap-southeast-1": 20_000, "ap-southeast-2": 20_000,
		"ap-northeast-1": 20_000, "eu-central-1": 20_000, "eu-west-2": 20_000,
	}},
	familyRSA:   {rate: 1_000},
	familyECC:   {rate: 1_000},
	familyMLDSA: {rate: 1_000},
	familyMLKEM: {rate: 1_000},

	familyKeyStore: {rate: 1_800},

	familyPair + "RSA_2048":              {rate: 20},
	familyPair + "RSA_3072":              {rate: 4},
	familyPair + "RSA_4096":              {rate: 1},
	familyPair + "ECC_NIST_P256":         {rate: 100},
	familyPair + "ECC_NIST_P384":         {rate: 100},
	familyPair + "ECC_NIST_P521":         {rate: 100},
	familyPair + "ECC_SECG_P256K1":       {rate: 100},
	familyPair + "ECC_NIST_EDWARDS25519": {rate: 100},
	familyPair + "SM2":                   {rate: 100},
	familyPair + "ML_KEM_512":            {rate: 100},
	familyPair + "ML_KEM_768":            {rate: 100},
	familyPair + "ML_KEM_1024":           {rate: 100},

	"CancelKeyDeletion":         {rate: 5},
	"ConnectCustomKeyStore":     {rate: 5},
	"CreateAlias":               {rate: 5},
	"CreateCustomKeyStore":      {rate: 5},
	"CreateGrant":               {rate: 50},
	"CreateKey":                 {rate: 5},
	"DeleteAlias":               {rate: 15},
	"DeleteCustomKeyStore":      {rate: 5},
	"DeleteImportedKeyMaterial": {rate: 15},
	"DescribeCustomKeyStores":   {rate: 5},
	"DescribeKey":               {rate: 2_000},
	"DisableKey":                {rate: 5},
	"DisableKeyRotation":        {rate: 5},
	"DisconnectCustomKeyStore":  {rate: 5},
	"EnableKey":                 {rate: 5},
	"EnableKeyRotation":         {rate: 15},
	"GetKeyLastUsage":           {rate: 5},
	"GetKeyPolicy":              {rate: 1_000},
	"GetKeyRotationStatus":      {rate: 1_000},
	"GetParametersForImport":    {rate: 0.25},
	"GetPublicKey":              {rate: 2_000},
	"ImportKeyMaterial":         {rate: 15},
	"ListAliases":               {rate: 500},
	"ListGrants":                {rate: 100},
	"ListKeyPolicies":           {rate: 100},
	"ListKeyRotations":          {rate: 100},
	"ListKeys":                  {rate: 500},
	"ListResourceTags":          {rate: 2_000},
	"ListRetirableGrants":       {rate: 100},
	"PutKeyPolicy":              {rate: 15},
	"ReplicateKey":              {rate: 5},
	"RetireGrant":               {rate: 50},
	"RevokeGrant":               {rate: 50},
	"RotateKeyOnDemand":         {rate: 5},
	"ScheduleKeyDeletion":       {rate: 15},
	"TagResource":               {rate: 10},
	"UntagResource":             {rate: 5},
	"UpdateAlias":               {rate: 5},
	"UpdateCustomKeyStore":      {rate: 5},
	"UpdateKeyDescription":      {rate: 5},
	"UpdatePrimaryRegion":       {rate: 5},
}

// RateFamilies are the names of all families of request quotas, in their order.
func RateFamilies() []string { return slices.Sorted(maps.Keys(rateFamilies)) }

// familyOf is the family that a request counts in. Where it depends on the kind of key, the request's
// algorithm tells it: the key has not been looked up yet, and a request with an algorithm that does
// not fit its key is refused in any case. It allocates nothing.
func familyOf(operation string, request any) string {
	switch in := request.(type) {
	case *kms.EncryptRequest:
		return algorithmFamily(string(in.EncryptionAlgorithm))
	case *kms.DecryptRequest:
		return algorithmFamily(string(in.EncryptionAlgorithm))
	case *kms.ReEncryptRequest:
		// It counts once; if one of its keys is asymmetric, as such.
		if family := algorithmFamily(string(in.SourceEncryptionAlgorithm)); family != familySymmetric {
			return family
		}
		return algorithmFamily(string(in.DestinationEncryptionAlgorithm))
	case *kms.SignRequest:
		return algorithmFamily(string(in.SigningAlgorithm))
	case *kms.VerifyRequest:
		return algorithmFamily(string(in.SigningAlgorithm))
	case *kms.DeriveSharedSecretRequest:
		return familyECC
	case *kms.EncapsulateRequest, *kms.DecapsulateRequest:
		return familyMLKEM
	case *kms.GenerateDataKeyPairRequest:
		return pairFamily(in.KeyPairSpec)
	case *kms.GenerateDataKeyPairWithoutPlaintextRequest:
		return pairFamily(in.KeyPairSpec)
	case *kms.GenerateDataKeyRequest, *kms.GenerateDataKeyWithoutPlaintextRequest, *kms.GenerateMacRequest,
		*kms.VerifyMacRequest, *kms.GenerateRandomRequest:
		return familySymmetric
	}
	return operation
}

// algorithmFamily is the family of the keys that an encryption or signing algorithm is for.
func algorithmFamily(algorithm string) string {
	for _, of := range &algorithmFamilies {
		if strings.HasPrefix(algorithm, of.prefix) {
			return of.family
		}
	}
	return familySymmetric
}

// algorithmFamilies leads from the beginnings of algorithms' names to families. Nothing writes to it.
var algorithmFamilies = [...]struct{ prefix, family string }{
	{"RSA", familyRSA}, {"EC", familyECC}, {"ED25519", familyECC}, {"SM2", familyECC}, {"ML_DSA", familyMLDSA},
}

// pairFamily is familyPair with a spec, without putting the two together for each request.
func pairFamily(spec kms.DataKeyPairSpec) string { return pairFamilies[spec] }

// pairFamilies has a family for each spec. Nothing writes to it.
var pairFamilies = func() map[kms.DataKeyPairSpec]string {
	families := make(map[kms.DataKeyPairSpec]string)
	for name := range rateFamilies {
		if spec, ok := strings.CutPrefix(name, familyPair); ok {
			families[kms.DataKeyPairSpec(spec)] = name
		}
	}
	return families
}()
