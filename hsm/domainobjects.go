package hsm

import (
	"context"
	"encoding/hex"
	"fmt"
	"unicode/utf8"

	"github.com/miekg/pkcs11"
)

// DomainObjects lists the persistent objects of a token that belong to a domain by their CKA_ID: its keys and
// resident keys, of which Label is the id of the KMS key. Of each it has Label, ID, Domain, Role and Version
// only, so that thousands take a second rather than minutes.
func DomainObjects(ctx context.Context, t *Token, domain string) ([]ObjectInfo, error) {
	var list []ObjectInfo
	err := t.with(ctx, func(c *conn) error {
		return c.do(ctx, laneHold, func(s *session) error {
			c.resting.Lock()
			defer c.resting.Unlock()
			list = nil
			for _, class := range []uint{pkcs11.CKO_SECRET_KEY, pkcs11.CKO_PRIVATE_KEY} {
				found, err := s.find(maxListed, []*attribute{
					pkcs11.NewAttribute(pkcs11.CKA_CLASS, class), pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
				})
				if err != nil {
					return err
				}
				for _, o := range found {
					if err := ctx.Err(); err != nil {
						return err
					}
					info, err := s.placeOf(o)
					if err != nil {
						return err
					}
					if info.Domain == domain {
						list = append(list, info)
					}
				}
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list the domain's objects on %s: %w", t.config.URI, err)
	}
	return list, nil
}

// placeOf reads what an object is to kms11. One that went meanwhile is nothing.
func (s *session) placeOf(o object) (info ObjectInfo, err error) {
	got, err := s.attributes(o, pkcs11.CKA_ID, pkcs11.CKA_LABEL)
	if err != nil {
		if lost(err) {
			return info, err
		}
		return info, nil
	}
	info.ID = hex.EncodeToString(got[0])
	if utf8.Valid(got[1]) {
		info.Label = printable(string(got[1]))
	}
	info.place(got[0])
	return info, nil
}
