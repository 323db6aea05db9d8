package hsm

import (
	"context"
	"testing"
)

// ErrStale is what a call on a conn that was replaced fails with.
var ErrStale = errStale

// InVain has a call wait for a short session while there is none, runs end, and gives the call's error.
func InVain(t testing.TB, ctx context.Context, token *Token, end func()) error {
	t.Helper()
	c, err := token.current()
	if err != nil {
		t.Fatal(err)
	}
	for range cap(c.lanes[laneShort]) {
		s := <-c.lanes[laneShort]
		defer func() { c.lanes[laneShort] <- s }()
	}
	ended := make(chan error)
	go func() { ended <- c.do(ctx, laneShort, func(*session) error { return nil }) }()
	end()
	return <-ended
}
