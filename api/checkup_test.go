package api

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestCheckupStands(t *testing.T) {
	var c checkup
	made := 0
	gone, hangUp := context.WithCancel(t.Context())
	hangUp()
	ill := errors.New("ill")
	check := func(ctx context.Context) error {
		made++
		if ctx.Err() != nil {
			t.Error("the check ends with the client who asked")
		}
		return ill
	}
	for range 100 {
		if err := c.result(gone, check); err != ill {
			t.Fatalf("got %v", err)
		}
		c.last = time.Now().Add(time.Hour) // however slow the machine is
	}
	if made != 1 {
		t.Errorf("%d checks for 100 questions", made)
	}
	c.last = time.Now().Add(-checkupInterval)
	if _ = c.result(t.Context(), check); made != 2 {
		t.Error("an old result was not renewed")
	}
}
