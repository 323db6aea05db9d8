package ops

import "fmt"

// IdentityError is what somebody who manages or takes on identities is told: an error code of AWS
// IAM or AWS STS with a text. Cause, if set, is for the server's log only.
type IdentityError struct {
	Code    IdentityCode
	Message string
	Cause   error
}

// IdentityCode is an error code of AWS IAM or AWS STS, such as "NoSuchEntity". It is itself an
// error, so that errors.Is works on every error of this kind.
type IdentityCode string

func (c IdentityCode) Error() string { return string(c) }

// The codes that this service uses (IAM and STS API references, "Errors").
const (
	NoSuchEntity            IdentityCode = "NoSuchEntity"
	EntityAlreadyExists     IdentityCode = "EntityAlreadyExists"
	DeleteConflict          IdentityCode = "DeleteConflict"
	LimitExceeded           IdentityCode = "LimitExceeded"
	MalformedPolicyDocument IdentityCode = "MalformedPolicyDocument"
	UnmodifiableEntity      IdentityCode = "UnmodifiableEntity"
	ValidationError         IdentityCode = "ValidationError"

	AccessDenied         IdentityCode = "AccessDenied"
	ExpiredWebIdentity   IdentityCode = "ExpiredTokenException"
	InvalidIdentityToken IdentityCode = "InvalidIdentityToken"
	PackedPolicyTooLarge IdentityCode = "PackedPolicyTooLarge"
)

func (e *IdentityError) Error() string {
	text := string(e.Code) + ": " + e.Message
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap gives the code and the cause to errors.Is and errors.As.
func (e *IdentityError) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Code}
	}
	return []error{e.Code, e.Cause}
}

// identityErrorf makes an IdentityError. The text must not hold a secret or a token.
func identityErrorf(code IdentityCode, format string, args ...any) *IdentityError {
	return &IdentityError{Code: code, Message: fmt.Sprintf(format, args...)}
}
