package hsm

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// A URI names one token and how to reach it: a PKCS#11 URI of RFC 7512. Every attribute that is
// set has to match; those that are empty match anything.
type URI struct {
	Token        string // CKA label of the token
	Serial       string
	Manufacturer string
	Model        string
	SlotID       *uint
	// Object, ID and Type belong to URIs that name an object. They are kept and not used to
	// choose a token.
	Object string
	ID     []byte
	Type   string

	ModulePath string // path of the PKCS#11 library, with at least one "/"
	// PINSource is where PIN reads the PIN: "file:/path", a plain path, or "env:NAME".
	PINSource string
	// MaxSessions bounds all sessions opened on the token; 0 is no bound.
	MaxSessions int
	// Init is what the library wants to be told at C_Initialize (pReserved of
	// CK_C_INITIALIZE_ARGS), as NSS does: x-kms11-init. It holds nothing secret.
	Init string
	// SM2Sign is the number of the vendor's mechanism that signs a digest with an SM2 key, for which
	// PKCS#11 has none: x-kms11-sm2dsa. 0 leaves it to the token's quirks.
	SM2Sign uint

	pinValue PIN
}

// maxPINFile bounds what is read from a pin-source.
const maxPINFile = 4096

// uriAttributes are the attributes of RFC 7512 section 2.3 and 2.4 that are understood, and those of
// kms11's own, whose names begin with "x-", in the order in which String writes them.
var uriAttributes = []struct {
	name  string
	query bool
	set   func(u *URI, v string) error
	get   func(u *URI) string
}{
	{"token", false, func(u *URI, v string) error { u.Token = v; return nil }, func(u *URI) string { return u.Token }},
	{"manufacturer", false, func(u *URI, v string) error { u.Manufacturer = v; return nil }, func(u *URI) string { return u.Manufacturer }},
	{"model", false, func(u *URI, v string) error { u.Model = v; return nil }, func(u *URI) string { return u.Model }},
	{"serial", false, func(u *URI, v string) error { u.Serial = v; return nil }, func(u *URI) string { return u.Serial }},
	{"slot-id", false, setSlotID, getSlotID},
	{"object", false, func(u *URI, v string) error { u.Object = v; return nil }, func(u *URI) string { return u.Object }},
	{"id", false, func(u *URI, v string) error { u.ID = []byte(v); return nil }, func(u *URI) string { return string(u.ID) }},
	{"type", false, func(u *URI, v string) error { u.Type = v; return nil }, func(u *URI) string { return u.Type }},
	{"module-path", true, setModulePath, func(u *URI) string { return u.ModulePath }},
	{"pin-source", true, func(u *URI, v string) error { u.PINSource = v; return nil }, func(u *URI) string { return u.PINSource }},
	{"pin-value", true, func(u *URI, v string) error { u.pinValue = NewPIN(v); return nil }, func(*URI) string { return "" }},
	{"max-sessions", true, setMaxSessions, getMaxSessions},
	{"x-kms11-init", true, setInit, func(u *URI) string { return u.Init }},
	{"x-kms11-sm2dsa", true, setSM2Sign, getSM2Sign},
}

// ParseURI reads a PKCS#11 URI. An attribute that is not understood is an error, so that a
// misspelt one does not silently match every token. No error repeats a value, which may be a PIN.
func ParseURI(s string) (URI, error) {
	var u URI
	rest, ok := strings.CutPrefix(s, "pkcs11:")
	if !ok {
		return URI{}, fmt.Errorf("PKCS#11 URI does not start with %q", "pkcs11:")
	}
	path, query, _ := strings.Cut(rest, "?")
	seen := map[string]bool{}
	for _, part := range []struct {
		text, separator string
		query           bool
	}{{path, ";", false}, {query, "&", true}} {
		for _, field := range strings.Split(part.text, part.separator) {
			if field == "" {
				continue
			}
			if err := u.setField(field, part.query, seen); err != nil {
				return URI{}, err
			}
		}
	}
	if u.PINSource != "" && !u.pinValue.IsZero() {
		return URI{}, fmt.Errorf("PKCS#11 URI has both pin-source and pin-value (RFC 7512, section 2.4)")
	}
	return u, nil
}

func (u *URI) setField(field string, query bool, seen map[string]bool) error {
	name, raw, ok := strings.Cut(field, "=")
	if !ok {
		return fmt.Errorf("PKCS#11 URI has an attribute without a value")
	}
	value, err := url.PathUnescape(raw)
	if err != nil {
		return fmt.Errorf("PKCS#11 URI attribute %q is not percent-encoded properly", name)
	}
	if seen[name] {
		return fmt.Errorf("PKCS#11 URI attribute %q appears twice", name)
	}
	seen[name] = true
	for _, a := range uriAttributes {
		if a.name == name && a.query == query {
			if err := a.set(u, value); err != nil {
				return fmt.Errorf("PKCS#11 URI attribute %q: %w", name, err)
			}
			return nil
		}
	}
	return fmt.Errorf("PKCS#11 URI attribute %q is not understood here", name)
}

func setSlotID(u *URI, v string) error {
	n, err := strconv.ParseUint(v, 10, strconv.IntSize)
	if err != nil {
		return fmt.Errorf("not a slot number")
	}
	slot := uint(n)
	u.SlotID = &slot
	return nil
}

func getSlotID(u *URI) string {
	if u.SlotID == nil {
		return ""
	}
	return strconv.FormatUint(uint64(*u.SlotID), 10)
}

func setModulePath(u *URI, v string) error {
	if !strings.Contains(v, "/") {
		return fmt.Errorf(`must contain "/": a bare name would be looked up in the loader's search path`)
	}
	u.ModulePath = v
	return nil
}

func setMaxSessions(u *URI, v string) error {
	n, err := strconv.ParseUint(v, 10, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("not a number from 1 to 65535")
	}
	u.MaxSessions = int(n)
	return nil
}

func getMaxSessions(u *URI) string {
	if u.MaxSessions == 0 {
		return ""
	}
	return strconv.Itoa(u.MaxSessions)
}

func setInit(u *URI, v string) error {
	if strings.ContainsRune(v, 0) {
		return fmt.Errorf("holds a NUL, which would end it")
	}
	u.Init = v
	return nil
}

func setSM2Sign(u *URI, v string) error {
	n, err := strconv.ParseUint(v, 0, 32)
	if err != nil || n&ckmVendorDefined == 0 {
		return fmt.Errorf("not the number of a vendor-defined mechanism, 0x80000000 or more")
	}
	u.SM2Sign = uint(n)
	return nil
}

func getSM2Sign(u *URI) string {
	if u.SM2Sign == 0 {
		return ""
	}
	return fmt.Sprintf("0x%X", u.SM2Sign)
}

// String writes the URI without its pin-value. Parsing it again gives the same URI, less the PIN.
func (u URI) String() string {
	var path, query []string
	for _, a := range uriAttributes {
		v := a.get(&u)
		if v == "" {
			continue
		}
		if a.query {
			query = append(query, a.name+"="+escape(v))
		} else {
			path = append(path, a.name+"="+escape(v))
		}
	}
	s := "pkcs11:" + strings.Join(path, ";")
	if len(query) > 0 {
		s += "?" + strings.Join(query, "&")
	}
	return s
}

// escape percent-encodes all but the unreserved characters of RFC 3986 and the "/" and ":" that
// RFC 7512 allows in both parts.
func escape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~/:", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// Warnings names what in the URI should be done differently, for the log at start.
func (u URI) Warnings() []string {
	if u.pinValue.IsZero() {
		return nil
	}
	return []string{"the PKCS#11 URI holds the PIN itself (pin-value), where process lists and configuration backups show it: use pin-source"}
}

// PIN reads the PIN from the URI's pin-source, now, and removes one newline at its end. The
// error matches ErrPIN if there is no PIN or it cannot be read.
func (u URI) PIN() (PIN, error) {
	if !u.pinValue.IsZero() {
		return u.pinValue, nil
	}
	if u.PINSource == "" {
		return PIN{}, fmt.Errorf("%w: the PKCS#11 URI has no pin-source", ErrPIN)
	}
	raw, err := readPINSource(u.PINSource)
	if err != nil {
		return PIN{}, fmt.Errorf("%w: pin-source: %w", ErrPIN, err)
	}
	defer clear(raw)
	pin := bytes.TrimSuffix(bytes.TrimSuffix(raw, []byte("\n")), []byte("\r"))
	if len(pin) == 0 {
		return PIN{}, fmt.Errorf("%w: pin-source is empty", ErrPIN)
	}
	return NewPIN(string(pin)), nil
}

// PINFile is the path of the file that PIN reads; empty if it reads none.
func (u URI) PINFile() string {
	if strings.HasPrefix(u.PINSource, "env:") || strings.HasPrefix(u.PINSource, "|") {
		return ""
	}
	return pinPath(u.PINSource)
}

func pinPath(source string) string {
	return strings.TrimPrefix(strings.TrimPrefix(source, "file:"), "//")
}

func readPINSource(source string) ([]byte, error) {
	if name, ok := strings.CutPrefix(source, "env:"); ok {
		return []byte(os.Getenv(name)), nil
	}
	if strings.HasPrefix(source, "|") {
		return nil, fmt.Errorf("commands are not run")
	}
	path := pinPath(source)
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().IsRegular() && info.Size() > maxPINFile {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, maxPINFile)
	}
	return os.ReadFile(path)
}
