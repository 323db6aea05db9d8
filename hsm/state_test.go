package hsm_test

import (
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
)

// TestState is that of a token in use.
func TestState(t *testing.T) {
	before := time.Now()
	token := hsmtest.Token(t)
	d := hsmtest.Domain(t, token)
	m := newKey(t, d)
	seal(t, d, &m, "a", "text")
	states := d.Tokens()
	if len(states) != 1 {
		t.Fatalf("%d tokens in a domain of one", len(states))
	}
	up := states[0]
	if !up.Up || up.Cause != "" || up.Sessions < 3 || up.Handles < 1 || up.Hanging != 0 ||
		up.Since.Before(before.Truncate(time.Second)) || up.Since.After(time.Now()) || up.Library.Path == "" {
		t.Errorf("a token that works is %+v", up)
	}
	if strings.Contains(up.URI, "pin-") || !strings.Contains(up.URI, "pkcs11:") {
		t.Errorf("the URI is %s", up.URI)
	}
}

// TestStateOfALostToken follows a token that loses its storage and gets it back.
func TestStateOfALostToken(t *testing.T) {
	hsmtest.Require(t, hsmtest.GoneStorage)
	token := hsmtest.Token(t)
	d := hsmtest.Domain(t, token)
	up := token.State()
	back := hide(t, token)
	defer back()
	if err := d.Health(t.Context()); err == nil {
		t.Fatal("a token without its storage is healthy")
	}
	down := token.State()
	if down.Up || down.Cause == "" || down.Sessions != 0 || down.Handles != 0 || down.Since.Before(up.Since) {
		t.Errorf("a token without its storage is %+v", down)
	}
	back()
	if !hsm.Settled(t, token) {
		t.Fatal("the token did not come back")
	}
	again := token.State()
	if !again.Up || again.Cause != "" || again.Since.Before(down.Since) || again.Library.Restarts <= up.Library.Restarts {
		t.Errorf("a token that is back is %+v", again)
	}
}
