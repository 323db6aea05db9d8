package hsm

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"unicode/utf8"

	"github.com/miekg/pkcs11"
)

// An ObjectInfo is what a persistent object of a token says of itself.
type ObjectInfo struct {
	Class   string `json:"class"`
	KeyType string `json:"keyType,omitempty"`
	Label   string `json:"label,omitempty"`
	ID      string `json:"id,omitempty"` // CKA_ID in hexadecimal

	Private     bool     `json:"private"`
	Sensitive   bool     `json:"sensitive"`
	Extractable bool     `json:"extractable"`
	Uses        []string `json:"uses,omitempty"`

	// Domain is the id of the kms11 domain that the object belongs to, by its CKA_ID, and Role what
	// it is there: "domain", "record" and "sealing" with their Version, or "resident" for the key named by
	// the label. Empty for the objects of others.
	Domain  string `json:"domain,omitempty"`
	Role    string `json:"role,omitempty"`
	Version uint32 `json:"version,omitempty"`
}

// maxListed bounds how many objects are listed.
const maxListed = 1 << 20

// ListObjects lists the persistent objects of a token that its user can see. It reads a dozen
// attributes of each, so thousands of objects take seconds.
func ListObjects(ctx context.Context, t *Token) ([]ObjectInfo, error) {
	var list []ObjectInfo
	err := t.do(ctx, laneHold, func(s *session) error {
		list = nil
		found, err := s.find(maxListed, []*attribute{pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true)})
		if err != nil {
			return err
		}
		for _, o := range found {
			if err := ctx.Err(); err != nil {
				return err
			}
			info, err := s.describe(o)
			if err != nil {
				return err
			}
			list = append(list, info)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the objects of %s: %w", t.config.URI, err)
	}
	return list, nil
}

// describe reads what o has of each attribute: not every class has all. Only a lost session or token
// is an error.
func (s *session) describe(o object) (ObjectInfo, error) {
	var gone error
	read := func(attribute uint) []byte {
		got, err := s.attributes(o, attribute)
		if err != nil {
			if lost(err) {
				gone = err
			}
			return nil
		}
		return got[0]
	}
	class := number(read(pkcs11.CKA_CLASS))
	info := ObjectInfo{Class: named(objectClasses, class), Private: isTrue(read(pkcs11.CKA_PRIVATE))}
	if label := read(pkcs11.CKA_LABEL); utf8.Valid(label) {
		info.Label = printable(string(label))
	}
	id := read(pkcs11.CKA_ID)
	info.ID = hex.EncodeToString(id)
	if class == pkcs11.CKO_PUBLIC_KEY || class == pkcs11.CKO_PRIVATE_KEY || class == pkcs11.CKO_SECRET_KEY {
		info.KeyType = named(keyTypes, number(read(pkcs11.CKA_KEY_TYPE)))
		info.Sensitive, info.Extractable = isTrue(read(pkcs11.CKA_SENSITIVE)), isTrue(read(pkcs11.CKA_EXTRACTABLE))
		for _, u := range useAttributes {
			if isTrue(read(u.attribute)) {
				info.Uses = append(info.Uses, u.name)
			}
		}
	}
	info.place(id)
	return info, gone
}

// place says what an object is to kms11, by its CKA_ID.
func (i *ObjectInfo) place(id []byte) {
	switch {
	case len(id) == domainObjectID:
		for _, r := range domainRoles {
			if r.code == id[domainIDSize] {
				i.Domain, i.Role = hex.EncodeToString(id[:domainIDSize]), string(r.role)
				i.Version = binary.BigEndian.Uint32(id[domainIDSize+1:])
			}
		}
	case len(id) == residentObjectID && id[domainIDSize] == residentCode:
		i.Domain, i.Role = hex.EncodeToString(id[:domainIDSize]), "resident"
	}
}

var objectClasses = map[uint]string{
	pkcs11.CKO_DATA:              "CKO_DATA",
	pkcs11.CKO_CERTIFICATE:       "CKO_CERTIFICATE",
	pkcs11.CKO_PUBLIC_KEY:        "CKO_PUBLIC_KEY",
	pkcs11.CKO_PRIVATE_KEY:       "CKO_PRIVATE_KEY",
	pkcs11.CKO_SECRET_KEY:        "CKO_SECRET_KEY",
	pkcs11.CKO_HW_FEATURE:        "CKO_HW_FEATURE",
	pkcs11.CKO_DOMAIN_PARAMETERS: "CKO_DOMAIN_PARAMETERS",
	pkcs11.CKO_MECHANISM:         "CKO_MECHANISM",
}

var keyTypes = map[uint]string{
	pkcs11.CKK_RSA:            "CKK_RSA",
	pkcs11.CKK_DSA:            "CKK_DSA",
	pkcs11.CKK_DH:             "CKK_DH",
	pkcs11.CKK_EC:             "CKK_EC",
	pkcs11.CKK_GENERIC_SECRET: "CKK_GENERIC_SECRET",
	pkcs11.CKK_DES3:           "CKK_DES3",
	pkcs11.CKK_AES:            "CKK_AES",
	ckkECEdwards:              "CKK_EC_EDWARDS",
}

// named is a number's name, or the number.
func named(names map[uint]string, n uint) string {
	if name, ok := names[n]; ok {
		return name
	}
	return fmt.Sprintf("0x%X", n)
}

// number reads a CK_ULONG.
func number(b []byte) uint {
	if len(b) == 8 {
		return uint(binary.NativeEndian.Uint64(b))
	}
	return ^uint(0)
}
