package kms

import (
	"errors"
	"fmt"
)

// An Error is what a client is told: an AWS error code and a text. Cause, if set, is for the
// server's log only and never reaches a client.
type Error struct {
	Code    ErrorCode
	Message string // empty where AWS sends no message
	Cause   error
}

// Errorf makes an Error. The text must not hold a secret, a plaintext or a PIN.
func Errorf(code ErrorCode, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Because returns a copy of e that carries cause for the log.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.Cause = cause
	return &c
}

func (e *Error) Error() string {
	text := string(e.Code)
	if e.Message != "" {
		text += ": " + e.Message
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap gives the code and the cause to errors.Is and errors.As.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Code}
	}
	return []error{e.Code, e.Cause}
}

// ErrorCode is an AWS error code such as "NotFoundException". It is itself an error, so that
// errors.Is(err, kms.NotFoundException) works on every error this package makes.
type ErrorCode string

func (c ErrorCode) Error() string { return string(c) }

// Err is the error of this code without a message.
func (c ErrorCode) Err() *Error { return &Error{Code: c} }

// AsError gives the part of err that a client may see. An error that says nothing to clients
// becomes KMSInternalException without a text and with err as its cause.
func AsError(err error) *Error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	return KMSInternalException.Err().Because(err)
}
