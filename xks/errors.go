package xks

import (
	"errors"
	"fmt"
	"net/http"
)

// The error names of the specification.
const (
	ValidationException           = "ValidationException"
	InvalidStateException         = "InvalidStateException"
	InvalidCiphertextException    = "InvalidCiphertextException"
	InvalidKeyUsageException      = "InvalidKeyUsageException"
	AuthenticationFailedException = "AuthenticationFailedException"
	AccessDeniedException         = "AccessDeniedException"
	KeyNotFoundException          = "KeyNotFoundException"
	InvalidUriPathException       = "InvalidUriPathException"
	ThrottlingException           = "ThrottlingException"
	UnsupportedOperationException = "UnsupportedOperationException"
	DependencyTimeoutException    = "DependencyTimeoutException"
	InternalException             = "InternalException"
)

// statuses is the HTTP status of each error name (specification, "Error codes"). Nothing writes
// to it.
var statuses = map[string]int{
	ValidationException:           http.StatusBadRequest,
	InvalidStateException:         http.StatusBadRequest,
	InvalidCiphertextException:    http.StatusBadRequest,
	InvalidKeyUsageException:      http.StatusBadRequest,
	AuthenticationFailedException: http.StatusUnauthorized,
	AccessDeniedException:         http.StatusForbidden,
	KeyNotFoundException:          http.StatusNotFound,
	InvalidUriPathException:       http.StatusNotFound,
	ThrottlingException:           http.StatusTooManyRequests,
	UnsupportedOperationException: http.StatusNotImplemented,
	DependencyTimeoutException:    http.StatusServiceUnavailable,
	InternalException:             http.StatusInternalServerError,
}

// An Error is a proxy's error answer. Message is the proxy's text, for a log: AWS KMS does not
// show it to its callers.
type Error struct {
	HTTPStatus int
	Name       string
	Message    string // printable ASCII, fewer than 512 characters
}

func (e *Error) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("%s (HTTP %d)", e.Name, e.HTTPStatus)
	}
	return fmt.Sprintf("%s (HTTP %d): %s", e.Name, e.HTTPStatus, e.Message)
}

// Known says whether the name is one of the specification's. An AWS KMS cannot interpret another.
func (e *Error) Known() bool { return statuses[e.Name] != 0 }

// What a Client can say of a request that got no answer of the proxy's, or none that can be read.
// They are matched with errors.Is.
var (
	// ErrTimeout: no complete answer within the client's time.
	ErrTimeout = errors.New("the external key store proxy did not respond in time")
	// ErrTLS: a TCP connection, but no TLS session: certificates, versions, or no TLS at all.
	ErrTLS = errors.New("no TLS connection with the external key store proxy")
	// ErrUnreachable: no TCP connection, or one that broke.
	ErrUnreachable = errors.New("the external key store proxy cannot be reached")
	// ErrMalformed: an answer that is not what the specification says.
	ErrMalformed = errors.New("the answer of the external key store proxy cannot be interpreted")
)

// failure is a specification error as the handler makes it.
func failure(name, message string) *Error {
	return &Error{HTTPStatus: statuses[name], Name: name, Message: message}
}

// errorBody is the JSON of an Error.
type errorBody struct {
	Name    string `json:"errorName"`
	Message string `json:"errorMessage,omitempty"`
}
