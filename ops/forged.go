package ops

import (
	"context"
	"errors"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/kms"
)

// forged bounds what session tokens that nobody sealed can cost. A token that is not known yet has to
// be decrypted by the HSM to be judged: its first bytes tell apart only what has not its form. So few
// of them are decrypted at a time, all others wait; and a source of many bad ones is refused without a
// decryption for a while. Tokens that are known pass by all this. It is safe for concurrent use.
type forged struct {
	slots chan struct{}
	limit *limiter
}

const (
	// openingTokens is how many unknown session tokens are decrypted at a time.
	openingTokens = 4
	// forgedPerSource is how many bad ones a second are decrypted for one source; at least
	// openingTokens, so that a source of good ones is never refused.
	forgedPerSource = 10
)

func newForged(now func() time.Time) *forged {
	return &forged{
		slots: make(chan struct{}, openingTokens),
		limit: newLimiter(now, func(bucketKey) float64 { return forgedPerSource }),
	}
}

// guard has open called for a source. It waits for its turn until ctx ends; the error matches
// ThrottlingException where open is not called because of the source.
func (f *forged) guard(ctx context.Context, source string, open func() error) error {
	select {
	case f.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-f.slots }()
	key := bucketKey{who: sourceOf(source)}
	if !f.limit.take(key, 1) {
		return kms.Errorf(kms.ThrottlingException, "Rate exceeded")
	}
	err := open()
	if !errors.Is(err, hsm.ErrBadCiphertext) {
		f.limit.giveBack(key, 1)
	}
	return err
}
