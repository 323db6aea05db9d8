package hsm

import (
	"fmt"
	"io"
	"log/slog"
)

const hidden = "***"

// A PIN is a token PIN that cannot be printed by accident: every way of formatting it gives
// "***". The value sits behind a function, because fmt looks through unexported fields of the
// structs that hold a PIN but prints only the address of a function. The zero PIN holds nothing.
type PIN struct{ reveal func() string }

// NewPIN holds s. An empty s gives the zero PIN.
func NewPIN(s string) PIN {
	if s == "" {
		return PIN{}
	}
	return PIN{reveal: func() string { return s }}
}

// IsZero says whether there is no PIN.
func (p PIN) IsZero() bool { return p.reveal == nil }

// value is the PIN itself, for C_Login, C_InitToken and C_InitPIN only.
func (p PIN) value() string {
	if p.reveal == nil {
		return ""
	}
	return p.reveal()
}

// Format hides the PIN from every verb.
func (p PIN) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// String hides the PIN.
func (p PIN) String() string { return hidden }

// GoString hides the PIN from %#v.
func (p PIN) GoString() string { return hidden }

// MarshalText hides the PIN from JSON, YAML and the like.
func (p PIN) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue hides the PIN from slog.
func (p PIN) LogValue() slog.Value { return slog.StringValue(hidden) }
