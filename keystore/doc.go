// Package keystore keeps what the service must not forget: KMS keys, users and access keys.
//
// Store holds all the rules: what a record is, who may have written it, what is cached and until
// when. It works over an Engine, which is nothing but ordered bytes with transactions; the engines
// are in folders of their own and all pass enginetest.
//
// Nothing in a store is secret: key material is wrapped by the token, secrets are sealed by it.
// Every record carries a MAC made in the token, so whoever can write the file but cannot use the
// token cannot change, move or swap a record without being noticed. What that does not cover is
// written down in docs/formats.md, as are all the formats.
package keystore
