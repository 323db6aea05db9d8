package hsm_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
)

// begun is time enough for a call to be waiting. One that is not yet ends in the same way.
const begun = 20 * time.Millisecond

func TestWaitForASessionEndsWithTheContext(t *testing.T) {
	token := hsmtest.Token(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := hsm.InVain(t, ctx, token, func() {
		time.Sleep(begun)
		cancel()
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestWaitForASessionEndsWithTheConnection(t *testing.T) {
	token := hsmtest.Token(t)
	err := hsm.InVain(t, t.Context(), token, func() {
		time.Sleep(begun)
		hsm.MarkDown(t, token)
	})
	if !errors.Is(err, hsm.ErrStale) {
		t.Error(err)
	}
	if !hsm.Settled(t, token) {
		t.Error("the token is down")
	}
}
