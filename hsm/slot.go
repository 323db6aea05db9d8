package hsm

import (
	"fmt"
	"strings"

	"github.com/miekg/pkcs11"
)

// findSlot gives the one slot whose token the URI names. The error lists the tokens that are
// there. The module's gate must be held.
func (m *module) findSlot(u URI) (uint, pkcs11.TokenInfo, error) {
	slots, err := m.ctx.GetSlotList(true)
	if err != nil {
		return 0, pkcs11.TokenInfo{}, moduleError("C_GetSlotList", err)
	}
	var (
		present, matches []string
		slot             uint
		found            pkcs11.TokenInfo
	)
	for _, id := range slots {
		info, err := m.ctx.GetTokenInfo(id)
		if err != nil {
			present = append(present, fmt.Sprintf("slot-id=%d (%v)", id, moduleError("C_GetTokenInfo", err)))
			continue
		}
		if info.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 {
			continue
		}
		name := describe(id, info)
		present = append(present, name)
		if u.matches(id, info) {
			matches = append(matches, name)
			slot, found = id, info
		}
	}
	switch {
	case len(matches) == 1:
		return slot, found, nil
	case len(present) == 0:
		return 0, found, fmt.Errorf("%w: %w", ErrNotFound, ErrNoTokens)
	case len(matches) == 0:
		return 0, found, fmt.Errorf("%w: no token matches the URI; present: %s", ErrNotFound, strings.Join(present, ", "))
	default:
		return 0, found, fmt.Errorf("%d tokens are %s, add serial or slot-id: %s", len(matches), u, strings.Join(matches, ", "))
	}
}

func (u URI) matches(slot uint, info pkcs11.TokenInfo) bool {
	if u.SlotID != nil && *u.SlotID != slot {
		return false
	}
	for _, a := range [][2]string{
		{u.Token, info.Label},
		{u.Serial, info.SerialNumber},
		{u.Manufacturer, info.ManufacturerID},
		{u.Model, info.Model},
	} {
		if a[0] != "" && a[0] != printable(a[1]) {
			return false
		}
	}
	return true
}

func describe(slot uint, info pkcs11.TokenInfo) string {
	return URI{
		Token:        printable(info.Label),
		Serial:       printable(info.SerialNumber),
		Manufacturer: printable(info.ManufacturerID),
		Model:        printable(info.Model),
		SlotID:       &slot,
	}.String()
}

// printable cuts the blanks, or on some tokens the NULs, that fill the fields of CK_TOKEN_INFO.
func printable(s string) string { return strings.TrimRight(s, " \x00") }
