// Package integration_test sees kms11 as its users do: the built binary, AWS's own Go SDK, raw
// HTTP, and faults. It needs Go and SoftHSM2 only; the tests with clients in other languages are
// in the folder clients.
package integration_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/smithy-go"

	"github.com/kms11/kms11/integration/kms11test"
)

func TestMain(m *testing.M) { kms11test.Main(m) }

// must turns the results of a call into its value, or ends the test.
func must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// wantError checks that err is the SDK's modelled error E with exactly this message.
func wantError[E smithy.APIError](t testing.TB, err error, message string) {
	t.Helper()
	var typed E
	if !errors.As(err, &typed) {
		t.Errorf("got %v, want a %T", err, typed)
		return
	}
	if typed.ErrorMessage() != message {
		t.Errorf("%T says %q, want %q", typed, typed.ErrorMessage(), message)
	}
}

// wantCode checks the code of an error the API model does not know, and a part of its message.
func wantCode(t testing.TB, err error, code, messagePart string) {
	t.Helper()
	var fault smithy.APIError
	if !errors.As(err, &fault) {
		t.Errorf("got %v, want a %s", err, code)
		return
	}
	if fault.ErrorCode() != code || !strings.Contains(fault.ErrorMessage(), messagePart) {
		t.Errorf("got %s %q, want %s with %q", fault.ErrorCode(), fault.ErrorMessage(), code, messagePart)
	}
}
