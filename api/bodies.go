package api

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"
)

// bodies reads the bodies of requests. Who sent a request is known only once its body is there, so
// anybody can have memory taken for one. Of a request that names no access key there is, only a little is
// read; large bodies, which hardly any request has, take turns.
type bodies struct {
	turns chan struct{}
	wait  time.Duration // the longest, for a turn
}

const (
	// freeBody is the size in bytes up to which a body is read without a look at who might have sent it: that
	// of most requests.
	freeBody = 16 << 10
	// largeBody is the size in bytes from which on a body needs a turn. Of valid requests only those with
	// a large key policy, many large tags or an attestation document have one.
	largeBody = 64 << 10
	// bodyTurns is how many large bodies are read at a time: 32 MB of the largest.
	bodyTurns = 32
	turnWait  = 5 * time.Second
)

// errTurn means that no large body could be read in time.
var errTurn = errors.New("too many large requests at a time")

// screenedError is an error of Authenticator.Screen.
type screenedError struct{ error }

func (e *screenedError) Unwrap() error { return e.error }

func newBodies() bodies { return bodies{turns: make(chan struct{}, bodyTurns), wait: turnWait} }

// read reads the body of a request, of most bytes. One that is not short has to pass Screen first, where
// that is not nil. An error that matches *http.MaxBytesError, *screenedError or errTurn says so.
func (b *bodies) read(w http.ResponseWriter, r *http.Request, into *bytes.Buffer, most int64, screen Authenticator) error {
	if r.ContentLength > most {
		return &http.MaxBytesError{Limit: most}
	}
	if n := r.ContentLength; n > 0 && n <= freeBody { // nearly all
		into.Grow(int(n))
		content := into.AvailableBuffer()[:n]
		if _, err := io.ReadFull(r.Body, content); err != nil {
			clear(content)
			return err
		}
		_, err := into.Write(content)
		return err
	}
	body := http.MaxBytesReader(w, r.Body, most)
	if r.ContentLength < 0 {
		// One that does not say how long it is may be short.
		if whole, err := readUpTo(into, body, freeBody); whole || err != nil {
			return err
		}
	}
	if screen != nil && r.ContentLength != 0 {
		if err := screen.Screen(r); err != nil {
			return &screenedError{err}
		}
	}
	if r.ContentLength < 0 || r.ContentLength > largeBody {
		if whole, err := readUpTo(into, body, largeBody); whole || err != nil {
			return err
		}
		done, err := b.turn(r)
		if err != nil {
			return err
		}
		defer done()
	}
	_, err := into.ReadFrom(body)
	return err
}

// readUpTo fills the buffer up to a size, or with the whole body.
func readUpTo(into *bytes.Buffer, body io.Reader, size int64) (whole bool, err error) {
	if _, err = io.CopyN(into, body, size-int64(into.Len())); err == io.EOF {
		return true, nil
	}
	return false, err
}

// turn waits for a turn.
func (b *bodies) turn(r *http.Request) (done func(), err error) {
	done = func() { <-b.turns }
	select {
	case b.turns <- struct{}{}:
		return done, nil
	default:
	}
	timeout := time.NewTimer(b.wait)
	defer timeout.Stop()
	select {
	case b.turns <- struct{}{}:
		return done, nil
	case <-timeout.C:
		return nil, errTurn
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}
