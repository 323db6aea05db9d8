package hsmtest

import (
	"os"
	"slices"
	"testing"
)

// KindVariable chooses the kind of token that the tests of a process get: the name of a row of kinds;
// empty is SoftHSM2. ModuleVariable is the path of the library where it is not in its usual place.
const (
	KindVariable   = "KMS11_HSMTEST"
	ModuleVariable = "KMS11_HSMTEST_MODULE"
)

// A Need is something that a test asks of a token and that not every token has.
type Need string

// Those of the tests of this module.
const (
	Derivation   Need = "deriving message keys"
	SP800108     Need = "SP 800-108"
	Ed25519      Need = "Ed25519"
	Ed25519ph    Need = "prehashed Ed25519"
	Secp256k1    Need = "secp256k1"
	SM2          Need = "the curve of SM2"
	SM2DSA       Need = "a mechanism for SM2DSA"
	MLDSA        Need = "ML-DSA"
	MLDSAMu      Need = "ML-DSA of a message representative"
	MLKEM        Need = "ML-KEM"
	ManyTokens   Need = "making tokens by C_InitToken"
	ShortLane    Need = "one session for short calls"
	GoneStorage  Need = "storage that a test can look into and take away"
	WrappedEC    Need = "unwrapping of elliptic-curve keys"
	ForeignKWP   Need = "unwrapping by RFC 5649 of what was not wrapped by the key"
	Provenance   Need = "to remember of a key in store that it may be read, and whether the token made it"
	LongSecrets  Need = "secret keys of more than 256 bytes"
	Sizes        Need = "to say how long an answer is when it is asked"
	SoftHSMCodes Need = "the return values of SoftHSM2"
	// WithoutSHA256 and Resident are what SoftHSM2 lacks, for tests of what happens then.
	WithoutSHA256 Need = "to lack OAEP with SHA-256"
	Resident      Need = "to wrap no Ed25519 keys"
)

// A kind is a sort of token that tests run on.
type kind struct {
	name  string
	lacks []Need
	// module is the path of the library, and uri makes a token.
	module, uri func(testing.TB) string
}

// kinds are the tokens with what each lacks, found by the lab and held by the tests. SoftHSM2 is
// first: the tests were written on it.
var kinds = []kind{
	{"softhsm", []Need{SP800108, Ed25519ph, SM2DSA, MLDSA, MLDSAMu, MLKEM}, Module, newSoftHSM},
	// Debian 12's NSS 3.87.
	{"nss", []Need{Ed25519, Ed25519ph, Secp256k1, SM2, SM2DSA, MLDSA, MLDSAMu, MLKEM, ManyTokens, ShortLane,
		GoneStorage, WrappedEC, Provenance, LongSecrets, Sizes, SoftHSMCodes, WithoutSHA256, Resident}, nssModule, newNSS},
	// Debian unstable's NSS 3.132.
	{"nss-unstable", []Need{Ed25519ph, Secp256k1, SM2, SM2DSA, MLDSAMu, ManyTokens, ShortLane,
		GoneStorage, Provenance, LongSecrets, Sizes, SoftHSMCodes, WithoutSHA256, Resident}, nssModule, newNSS},
	// Kryoptic 1.5.4, with OpenSSL 3.5 or newer.
	{"kryoptic", []Need{Secp256k1, SM2, SM2DSA, MLDSAMu, ShortLane,
		GoneStorage, SoftHSMCodes, WithoutSHA256, Resident}, namedModule, newKryoptic},
	// Debian unstable's openCryptoki 3.27.
	{"opencryptoki", []Need{Derivation, SP800108, ForeignKWP, SM2, SM2DSA, MLDSAMu, ShortLane,
		GoneStorage, Sizes, SoftHSMCodes, WithoutSHA256, Resident}, namedModule, newOpenCryptoki},
}

// theKind is the kind that the environment names. A name that is none is a mistake of who runs the
// tests, which no test should survive.
func theKind() kind {
	name := os.Getenv(KindVariable)
	if name == "" {
		return kinds[0]
	}
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
	if i < 0 {
		panic(KindVariable + "=" + name + " names no kind of token")
	}
	return kinds[i]
}

// namedModule is the path of a library that has no usual place.
func namedModule(t testing.TB) string {
	t.Helper()
	path := os.Getenv(ModuleVariable)
	if path == "" {
		t.Fatalf("%s does not name the library of this kind of token: `make test-tokens` does", ModuleVariable)
	}
	return path
}

// Kind is the name of the tests' kind of token.
func Kind() string { return theKind().name }

// OwnModule is the path of the library of the tests' kind of token.
func OwnModule(t testing.TB) string {
	t.Helper()
	return theKind().module(t)
}

// Has says whether the tests' kind of token has something.
func Has(what Need) bool { return !slices.Contains(theKind().lacks, what) }

// Require ends a test as unsupported on a token that lacks what it is about. `make test-tokens` counts
// these; on SoftHSM2, which the tests were written on, it is a mistake of the test.
func Require(t testing.TB, needs ...Need) {
	t.Helper()
	for _, what := range needs {
		if Has(what) {
			continue
		}
		if theKind().name == kinds[0].name {
			t.Fatalf("the test needs %s, which SoftHSM2 lacks: it would never run", what)
		}
		t.Skipf("unsupported: the token lacks %s", what)
	}
}
