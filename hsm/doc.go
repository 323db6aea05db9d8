// Package hsm keeps the keys of kms11 in PKCS#11 tokens. It is the only package that knows PKCS#11.
//
// A [Token] is one token, with one login and a fixed set of sessions. A [Domain] is the tokens
// that share three persistent keys: the domain key wraps the material of KMS keys, the record key
// authenticates the store, the sealing key encrypts the service's own secrets. Key material rests
// outside as [kms.Material], wrapped, and comes into a token when it is first used, as a session
// object that cannot leave and can do one thing.
//
// How it fits together, from the outside in:
//
//	Domain   chooses a token that is up                                domain.go
//	Token    has a conn, or none while it is down                      token.go, recover.go
//	conn     one login: three lanes of sessions; replaced as a whole   conn.go
//	loaded   the domain's objects on one conn, and its cache           domainkeys.go, cache.go
//	session  the C_ functions, with errors that say what failed        session.go
//	crossing the C_ functions that are hot or carry secrets, in C      crossing.go, crossing.c
//	module   the library, initialised once in the process              module.go, gate.go
//
// What keys there are is a table, keyspec.go; what the families of key pairs do differently is
// behind pairKind (rsakey.go, eckey.go, edkey.go, lattice.go); the algorithms are tables where they are
// used (signing.go, rsacrypt.go, mac.go), or have a file of their own (sm2.go, encapsulate.go). Private keys that a token does not wrap live in it:
// resident.go.
//
// What differs between tokens is data: quirks.go, and what is found out by doing at start (wrap.go,
// scheme.go, ability.go and trial.go). Nothing is decided by the text of an error or by a token's list of mechanisms.
package hsm
