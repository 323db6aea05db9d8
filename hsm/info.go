package hsm

import (
	"context"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

// Info is what a token and its library say of themselves.
type Info struct {
	Module          string `json:"module"` // path
	Library         string `json:"library"`
	LibraryVersion  string `json:"libraryVersion"`
	CryptokiVersion string `json:"cryptokiVersion"`

	SlotID       uint   `json:"slotId"`
	Token        string `json:"token"` // label
	Serial       string `json:"serial"`
	Manufacturer string `json:"manufacturer"`
	Model        string `json:"model"`
	Firmware     string `json:"firmware"`
	Hardware     string `json:"hardware"`

	Sessions    int  `json:"sessions"`              // open by this process's conn
	MaxSessions uint `json:"maxSessions,omitempty"` // 0: no limit or not known
	// Free memory in bytes; nil where the token does not say.
	FreePublicMemory  *uint `json:"freePublicMemory,omitempty"`
	FreePrivateMemory *uint `json:"freePrivateMemory,omitempty"`

	Flags []string `json:"flags"` // names of the CKF_ flags that are set
	// How near the user PIN is to being locked.
	PINCountLow bool `json:"pinCountLow"`
	PINFinalTry bool `json:"pinFinalTry"`
	PINLocked   bool `json:"pinLocked"`
}

// tokenFlags are the flags of CK_TOKEN_INFO.
var tokenFlags = []struct {
	flag uint
	name string
}{
	{pkcs11.CKF_RNG, "RNG"},
	{pkcs11.CKF_WRITE_PROTECTED, "WRITE_PROTECTED"},
	{pkcs11.CKF_LOGIN_REQUIRED, "LOGIN_REQUIRED"},
	{pkcs11.CKF_USER_PIN_INITIALIZED, "USER_PIN_INITIALIZED"},
	{pkcs11.CKF_PROTECTED_AUTHENTICATION_PATH, "PROTECTED_AUTHENTICATION_PATH"},
	{pkcs11.CKF_TOKEN_INITIALIZED, "TOKEN_INITIALIZED"},
	{pkcs11.CKF_USER_PIN_COUNT_LOW, "USER_PIN_COUNT_LOW"},
	{pkcs11.CKF_USER_PIN_FINAL_TRY, "USER_PIN_FINAL_TRY"},
	{pkcs11.CKF_USER_PIN_LOCKED, "USER_PIN_LOCKED"},
	{pkcs11.CKF_USER_PIN_TO_BE_CHANGED, "USER_PIN_TO_BE_CHANGED"},
	{pkcs11.CKF_SO_PIN_COUNT_LOW, "SO_PIN_COUNT_LOW"},
	{pkcs11.CKF_SO_PIN_FINAL_TRY, "SO_PIN_FINAL_TRY"},
	{pkcs11.CKF_SO_PIN_LOCKED, "SO_PIN_LOCKED"},
}

// Info asks the token and its library.
func (t *Token) Info(ctx context.Context) (Info, error) {
	var info Info
	err := t.do(ctx, laneHold, func(s *session) error {
		library, err := s.ctx().GetInfo()
		if err != nil {
			return s.conn.fail(err, "C_GetInfo", noMechanism)
		}
		token, err := s.tokenInfo()
		if err != nil {
			return err
		}
		info = newInfo(s.conn, library, token)
		return nil
	})
	return info, err
}

func newInfo(c *conn, library pkcs11.Info, token pkcs11.TokenInfo) Info {
	info := Info{
		Module:            c.token.module.path,
		Library:           printable(library.LibraryDescription),
		LibraryVersion:    version(library.LibraryVersion),
		CryptokiVersion:   version(library.CryptokiVersion),
		SlotID:            c.slot,
		Token:             printable(token.Label),
		Serial:            printable(token.SerialNumber),
		Manufacturer:      printable(token.ManufacturerID),
		Model:             printable(token.Model),
		Firmware:          version(token.FirmwareVersion),
		Hardware:          version(token.HardwareVersion),
		FreePublicMemory:  available(token.FreePublicMemory),
		FreePrivateMemory: available(token.FreePrivateMemory),
		Flags:             []string{},
		PINCountLow:       token.Flags&pkcs11.CKF_USER_PIN_COUNT_LOW != 0,
		PINFinalTry:       token.Flags&pkcs11.CKF_USER_PIN_FINAL_TRY != 0,
		PINLocked:         token.Flags&pkcs11.CKF_USER_PIN_LOCKED != 0,
	}
	for _, l := range c.lanes {
		info.Sessions += cap(l)
	}
	if token.MaxSessionCount != unavailable {
		info.MaxSessions = token.MaxSessionCount
	}
	for _, f := range tokenFlags {
		if token.Flags&f.flag != 0 {
			info.Flags = append(info.Flags, f.name)
		}
	}
	return info
}

func available(n uint) *uint {
	if n == unavailable {
		return nil
	}
	return &n
}

func version(v pkcs11.Version) string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// Health asks whether the token is there and this process is logged in. It marks the token down
// if not. Domain.Health asks more.
func (t *Token) Health(ctx context.Context) error {
	return t.with(ctx, func(c *conn) error {
		return c.healthy(c.do(ctx, laneHold, func(s *session) error {
			if _, err := s.tokenInfo(); err != nil {
				return err
			}
			return s.alive()
		}))
	})
}

// healthy passes on the outcome of a health check. Any failure of the token takes it out of use:
// SoftHSM2, whose sessions go on when its storage is gone, answers C_GetTokenInfo with
// CKR_GENERAL_ERROR.
func (c *conn) healthy(err error) error {
	if _, ok := codeOf(err); ok || errors.Is(err, ErrWrongToken) {
		c.token.markDown(c, err)
		return fmt.Errorf("%w: %w", ErrTokenDown, err)
	}
	return err
}
