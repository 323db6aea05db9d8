package kms

import "slices"

// Family is a group of key specs that share their algorithms.
type Family string

const (
	FamilySymmetric Family = "symmetric"
	FamilyRSA       Family = "RSA"
	FamilyECC       Family = "ECC" // Weierstrass curves
	FamilyEdwards   Family = "Edwards"
	FamilyHMAC      Family = "HMAC"
	FamilyMLDSA     Family = "ML-DSA"
	FamilyMLKEM     Family = "ML-KEM"
	FamilySM2       Family = "SM2"
)

// Asymmetric says whether keys of the family have a public half.
func (f Family) Asymmetric() bool { return f != FamilySymmetric && f != FamilyHMAC }

// ImportForm is the form in which key material may be imported.
type ImportForm string

const (
	ImportNone  ImportForm = ""      // not importable
	ImportRaw   ImportForm = "raw"   // the bytes of the key
	ImportPKCS8 ImportForm = "pkcs8" // a DER PrivateKeyInfo, RFC 5208
)

// Spec is what AWS KMS allows for keys of one KeySpec. Its slices are shared: do not write to them.
type Spec struct {
	KeySpec KeySpec
	Family  Family
	// Bits is the size in bits of the key, the modulus, or the curve's field; for ML-DSA and
	// ML-KEM it is the number of the parameter set.
	Bits int
	// DefaultUsage is the usage of a key that is made without one; empty if it must be given.
	DefaultUsage KeyUsageType
	// Uses are the usages allowed. A key has one of them for life.
	Uses []Use
	// Import is how material may be imported; ImportMin and ImportMax are bytes, for ImportRaw.
	Import               ImportForm
	ImportMin, ImportMax int
	// Rotates says whether keys of this spec can be rotated.
	Rotates bool
}

// Use is one key usage with its algorithms, in the order in which DescribeKey and GetPublicKey
// list them. One of the five lists is not empty.
type Use struct {
	Usage         KeyUsageType
	Encryption    []EncryptionAlgorithmSpec
	Signing       []SigningAlgorithmSpec
	Mac           []MacAlgorithmSpec
	KeyAgreement  []KeyAgreementAlgorithmSpec
	Encapsulation []EncapsulationAlgorithmSpec
}

// Has says whether the usage has an algorithm of this name.
func (u Use) Has(algorithm string) bool {
	return slices.Contains(u.Encryption, EncryptionAlgorithmSpec(algorithm)) ||
		slices.Contains(u.Signing, SigningAlgorithmSpec(algorithm)) ||
		slices.Contains(u.Mac, MacAlgorithmSpec(algorithm)) ||
		slices.Contains(u.KeyAgreement, KeyAgreementAlgorithmSpec(algorithm)) ||
		slices.Contains(u.Encapsulation, EncapsulationAlgorithmSpec(algorithm))
}

// SpecOf finds the row of a key spec.
func SpecOf(spec KeySpec) (Spec, bool) {
	i := slices.IndexFunc(specs[:], func(s Spec) bool { return s.KeySpec == spec })
	if i < 0 {
		return Spec{}, false
	}
	return specs[i], true
}

// Specs gives all rows, in the order of the Developer Guide's key spec reference.
func Specs() []Spec { return slices.Clone(specs[:]) }

// Use finds the row of a usage; ok is false if keys of the spec cannot have it.
func (s Spec) Use(usage KeyUsageType) (use Use, ok bool) {
	i := slices.IndexFunc(s.Uses, func(u Use) bool { return u.Usage == usage })
	if i < 0 {
		return Use{}, false
	}
	return s.Uses[i], true
}

// ResolveUsage gives the usage of a new key: the one asked for, or the spec's default if that is
// empty. It fails with ValidationException if there is no default or the pair is not allowed.
func (s Spec) ResolveUsage(asked KeyUsageType) (KeyUsageType, error) {
	if asked == "" {
		asked = s.DefaultUsage
	}
	if asked == "" {
		return "", Errorf(ValidationException,
			"You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.")
	}
	if _, ok := s.Use(asked); !ok {
		return "", Errorf(ValidationException, "KeyUsage %s is not compatible with KeySpec %s", asked, s.KeySpec)
	}
	return asked, nil
}

// CheckAlgorithm fails with InvalidKeyUsageException unless a key of this spec and usage has the
// algorithm.
func (s Spec) CheckAlgorithm(usage KeyUsageType, algorithm string) error {
	if use, ok := s.Use(usage); !ok || !use.Has(algorithm) {
		return Errorf(InvalidKeyUsageException, "Algorithm %s is incompatible with key spec %s.", algorithm, s.KeySpec)
	}
	return nil
}
