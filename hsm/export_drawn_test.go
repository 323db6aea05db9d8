package hsm

import (
	"bytes"
	"context"
	"testing"
)

// CheckDrawn: what a repeated encryption encrypts under the same key and IV is the same text.
func CheckDrawn(t *testing.T, d *Domain) {
	err := d.use(t.Context(), func(l *loaded) error {
		return l.conn.do(context.Background(), laneShort, func(s *session) error {
			var plaintext []byte
			text := drawn(&plaintext, 32)
			first, err := text(s)
			if err != nil {
				return err
			}
			first = bytes.Clone(first)
			second, err := text(s)
			if err == nil && (len(first) != 32 || !bytes.Equal(first, second) || !bytes.Equal(first, plaintext)) {
				t.Errorf("%d bytes, and then others: %t", len(first), !bytes.Equal(first, second))
			}
			var other []byte
			if third, err := drawn(&other, 32)(s); err != nil || bytes.Equal(third, first) {
				t.Errorf("another message has the same bytes, or none: %v", err)
			}
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}
