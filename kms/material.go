package kms

import "time"

// Material is one version of a KMS key's key material (a backing key) as it rests outside the
// token: either a blob wrapped by the token, or the name of an object that lives in it. It holds
// nothing secret.
type Material struct {
	// ID is 64 lower-case hex digits, unique to the material: AWS's KeyMaterialId.
	ID string `json:"id"`
	// Ordinal counts a key's materials from 1 and is written into every ciphertext.
	Ordinal uint32 `json:"ordinal"`
	// Created is when the token made the material.
	Created time.Time `json:"created"`
	// Scheme is how message keys come from this material; empty unless it encrypts.
	Scheme DerivationScheme `json:"scheme,omitempty"`

	// Domain is the id of the domain whose tokens hold the material or can unwrap it; empty in
	// records from before there could be several, for the domain of the store.
	Domain string `json:"domain,omitempty"`
	// Wrap says how Blob was wrapped; empty for a resident key.
	Wrap WrapAlgorithm `json:"wrap,omitempty"`
	// DomainKey is the version of the domain key that wrapped Blob.
	DomainKey uint32 `json:"domainKey,omitempty"`
	// Length is the true length in bytes of a secret key that was wrapped, before any padding. It
	// is 0 for a private key, whose encoding is the token's own affair.
	Length int `json:"length,omitempty"`
	// Blob is the wrapped material.
	Blob []byte `json:"blob,omitempty"`

	// ObjectID is the CKA_ID of a resident key; empty for a wrapped one.
	ObjectID []byte `json:"objectId,omitempty"`

	// PublicKey is the DER SubjectPublicKeyInfo of an asymmetric key.
	PublicKey []byte `json:"publicKey,omitempty"`
}

// WrapAlgorithm names a key wrap by the standard that defines it. Mechanism numbers are not
// used: the same CKM number means different things on different tokens.
type WrapAlgorithm string

const (
	AESKeyWrap    WrapAlgorithm = "RFC3394" // AES Key Wrap: a multiple of 8 bytes
	AESKeyWrapPad WrapAlgorithm = "RFC5649" // AES Key Wrap with Padding: any length
)

// DerivationScheme is how the key of one message, or of a short run of messages, comes from the
// material of a symmetric encryption key. It is fixed when the material is made.
type DerivationScheme string

const (
	// DeriveECB is a counter-mode KDF over AES blocks (CKM_AES_ECB_ENCRYPT_DATA): the message
	// key is AES(material, 1 || nonce) || AES(material, 2 || nonce), nonce of 15 bytes.
	DeriveECB DerivationScheme = "ecb"
	// DeriveSP800108 is NIST SP 800-108 in counter mode with HMAC-SHA-256, nonce of 16 bytes.
	DeriveSP800108 DerivationScheme = "sp800-108"
	// DeriveNone uses the material itself with random IVs, at most 2^32 times.
	DeriveNone DerivationScheme = "direct"
)

// Domain describes the objects that the tokens of one domain share. It holds nothing secret.
type Domain struct {
	// ID is 32 lower-case hex digits, chosen at init.
	ID string `json:"id"`
	// Scheme is the derivation scheme of new symmetric encryption keys.
	Scheme DerivationScheme `json:"scheme"`
	// Keys are the domain's keys, every version that is still needed.
	Keys []DomainKey `json:"keys"`
	// Transfer is the pair with which the domain signs what it sends to other domains: its private
	// half wrapped under the domain key. It is nil until there is another domain.
	Transfer *Material `json:"transfer,omitempty"`
	// Rotation is the change of the domain's keys, and perhaps of its tokens, that is under way.
	Rotation *DomainRotation `json:"rotation,omitempty"`
}

// DomainRotation is how far a rotation of a domain's keys is. It holds nothing secret.
type DomainRotation struct {
	Phase   RotationPhase `json:"phase"`
	Started time.Time     `json:"started"`
	// Old are the versions that end with the rotation. In the phase "destroying" they are not among
	// the domain's keys any more and only their objects are left.
	Old []DomainKey `json:"old"`
	// Joining and Leaving are the URIs, without PINs, of the tokens that hold the domain after the
	// rotation only, and before it only.
	Joining []string `json:"joining,omitempty"`
	Leaving []string `json:"leaving,omitempty"`
	// Retire is when the old versions may be destroyed; zero until nothing in the store needs them.
	Retire time.Time `json:"retire,omitzero"`
}

// RotationPhase is a stage of a rotation.
type RotationPhase string

const (
	RotationMaking     RotationPhase = "making"     // the tokens get the new versions; nothing names them yet
	RotationWrapping   RotationPhase = "wrapping"   // both versions are in use; the store is brought to the new ones
	RotationWaiting    RotationPhase = "waiting"    // only what was handed out before may still need the old ones
	RotationDestroying RotationPhase = "destroying" // the old ones are destroyed in the tokens
)

// Retires says whether a key ends with the rotation; a nil rotation ends none.
func (r *DomainRotation) Retires(role DomainKeyRole, version uint32) bool {
	if r == nil {
		return false
	}
	for i := range r.Old {
		if r.Old[i].Role == role && r.Old[i].Version == version {
			return true
		}
	}
	return false
}

// DomainKey is one version of one of the domain's keys.
type DomainKey struct {
	Role     DomainKeyRole `json:"role"`
	Version  uint32        `json:"version"` // counts from 1 within its role
	ObjectID []byte        `json:"objectId"`
	// Check is a known answer that only this key gives: see docs/formats.md.
	Check []byte `json:"check"`
}

// DomainKeyRole is what a domain key is for.
type DomainKeyRole string

const (
	RoleWrap   DomainKeyRole = "domain"  // AES-256, wraps and unwraps backing keys
	RoleRecord DomainKeyRole = "record"  // HMAC-SHA-256, authenticates store records
	RoleSeal   DomainKeyRole = "sealing" // AES-256, encrypts stored secrets and import tokens
)
