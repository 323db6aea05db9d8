package sigv4

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
)

// A Kind says why a request was refused. Its text is the AWS error code without the
// "Exception" that some protocols append. It is itself an error, so that
// errors.Is(err, sigv4.InvalidSignature) works on what this package returns.
type Kind string

func (k Kind) Error() string { return string(k) }

// The kinds of refusal, in the order in which AWS services check for them.
const (
	MissingAuthenticationToken Kind = "MissingAuthenticationToken" // not signed at all
	IncompleteSignature        Kind = "IncompleteSignature"        // signed, but not readable
	InvalidSignature           Kind = "InvalidSignature"           // wrong scope, time or signature
	UnrecognizedClient         Kind = "UnrecognizedClient"         // unknown access key or wrong session token
	ExpiredToken               Kind = "ExpiredToken"               // the credential has run out
)

// ErrUnknownKey is what a [Lookup] returns for an access key ID that does not exist.
var ErrUnknownKey = errors.New("sigv4: unknown access key")

// An Error is a refusal. Message is AWS's text, meant for the client. It never holds a secret,
// a session token, a signature or a canonical request.
type Error struct {
	Kind    Kind
	Message string
}

func (e *Error) Error() string { return string(e.Kind) + ": " + e.Message }

// Unwrap gives the kind to errors.Is.
func (e *Error) Unwrap() error { return e.Kind }

const (
	textMissing      = "Missing Authentication Token"
	textUnrecognized = "The security token included in the request is invalid."
	textExpired      = "The security token included in the request is expired"
	textMismatch     = "The request signature we calculated does not match the signature you provided. " +
		"Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
	textHost = "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."
)

func refuse(kind Kind, message string) error { return &Error{Kind: kind, Message: message} }

// fingerprint is how AWS shows an Authorization header in an error: hashed, because people
// put secrets there by mistake and error texts end in logs.
func fingerprint(header string) string {
	sum := sha256.Sum256([]byte(header))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// shown gives s for an error text when it can be no secret: secrets have 40 characters or more.
func shown(s string) string {
	if len(s) > 32 {
		return "..."
	}
	for i := range len(s) {
		if !isUnreserved(s[i]) {
			return "..."
		}
	}
	return s
}
