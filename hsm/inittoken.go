package hsm

import (
	"context"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

// maxLabel is the length of CK_TOKEN_INFO.label in bytes.
const maxLabel = 32

// InitToken makes a token on a free slot of the module: C_InitToken with the label, 1 to 32 bytes,
// and the SO PIN, then the user PIN. It refuses a label that is there already. It is for software
// tokens such as SoftHSM2; HSMs are initialised with their vendor's tools.
func InitToken(modulePath, label string, soPIN, userPIN PIN) (err error) {
	if len(label) < 1 || len(label) > maxLabel {
		return fmt.Errorf("token label must be 1 to %d bytes", maxLabel)
	}
	if soPIN.IsZero() || userPIN.IsZero() {
		return fmt.Errorf("%w: a new token needs an SO PIN and a user PIN", ErrPIN)
	}
	m, err := loadModule(modulePath, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.release()) }()
	if err := m.gate.enter(context.Background()); err != nil {
		return err
	}
	defer m.gate.leave()
	if err := m.initToken(label, soPIN, userPIN); err != nil {
		return fmt.Errorf("make token %q: %w", label, err)
	}
	return nil
}

func (m *module) initToken(label string, soPIN, userPIN PIN) error {
	free, info, err := m.freeSlot(label)
	if err != nil {
		return err
	}
	first := soPIN
	if factory := quirksFor(info).FactorySOPIN; factory != "" {
		first = NewPIN(factory)
	}
	if err := m.ctx.InitToken(free, first.value(), label); err != nil {
		return moduleError("C_InitToken", err)
	}
	// SoftHSM2 moves the new token to a slot of its own, which shows after the list is read anew.
	slot, _, err := m.findSlot(URI{Token: label})
	if err != nil {
		return err
	}
	s, err := m.ctx.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		return moduleError("C_OpenSession", err)
	}
	err = m.setPINs(s, first, soPIN, userPIN)
	// Closing the only session of the token ends the SO's login.
	return errors.Join(err, moduleError("C_CloseSession", m.ctx.CloseSession(s)))
}

// setPINs gives a token that has the SO PIN first its own two.
func (m *module) setPINs(s pkcs11.SessionHandle, first, soPIN, userPIN PIN) error {
	if err := m.ctx.Login(s, pkcs11.CKU_SO, first.value()); err != nil {
		return moduleError("C_Login", err)
	}
	if first.value() != soPIN.value() {
		if err := m.ctx.SetPIN(s, first.value(), soPIN.value()); err != nil {
			return moduleError("C_SetPIN", err)
		}
	}
	return moduleError("C_InitPIN", m.ctx.InitPIN(s, userPIN.value()))
}

// freeSlot finds a slot with a token that was never initialised.
func (m *module) freeSlot(label string) (free uint, blank pkcs11.TokenInfo, err error) {
	slots, err := m.ctx.GetSlotList(true)
	if err != nil {
		return 0, blank, moduleError("C_GetSlotList", err)
	}
	found := false
	for _, id := range slots {
		info, err := m.ctx.GetTokenInfo(id)
		if err != nil {
			continue // a broken token is not a free slot
		}
		switch {
		case info.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0:
			free, blank, found = id, info, true
		case printable(info.Label) == label:
			return 0, blank, errors.New("a token of this label is there already")
		}
	}
	if !found {
		return 0, blank, fmt.Errorf("no free slot: %w", ErrNotFound)
	}
	return free, blank, nil
}
