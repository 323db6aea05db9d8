package hsm

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/miekg/pkcs11"
)

// presence bounds how long a key that was deleted in the token, by another program, is still used.
const presence = time.Second

// A sighting is when a token last had an object.
type sighting struct{ at atomic.Int64 } // by Token.since

func (s *sighting) note(t *Token) { s.at.Store(t.since()) }

// present makes sure that the token has its object o, of this CKA_ID: it was seen within presence, or is
// seen now. A handle that another object has by now is lost.
func (c *conn) present(ctx context.Context, o object, id []byte, seen *sighting) error {
	now := c.token.since()
	if now-seen.at.Load() < int64(presence) {
		return nil
	}
	err := c.do(ctx, laneShort, func(s *session) error {
		got, err := s.attributes(o, pkcs11.CKA_TOKEN, pkcs11.CKA_ID)
		if err == nil && !(isTrue(got[0]) && string(got[1]) == string(id)) {
			err = &Error{Function: "C_GetAttributeValue", Code: pkcs11.CKR_OBJECT_HANDLE_INVALID, class: classHandleLost}
		}
		return err
	})
	if err == nil {
		seen.at.Store(now)
	}
	return err
}
