// Package attest verifies the attestation documents of AWS Nitro Enclaves and encrypts answers to
// the enclaves that sent them.
//
// A document is a COSE_Sign1 message (RFC 9052, section 4.2) signed with ES384, whose payload is a
// CBOR map of what the Nitro hypervisor measured. Its form and its validation are defined by
// docs/attestation_process.md of github.com/aws/aws-nitro-enclaves-nsm-api, called "the
// specification" in this package, and by the page "Verifying the root of trust" of the AWS Nitro
// Enclaves user guide.
//
// The package keeps no state and does no I/O. It handles one kind of secret, the plaintexts given
// to [EnvelopedData]; no error text holds any part of them.
package attest
