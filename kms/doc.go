// Package kms is the vocabulary of AWS KMS: request and response shapes with their validation,
// error codes, key specs, key states and ARNs. It does no I/O and imports the standard library
// only.
package kms

//go:generate go run ./gen
