package sigv4_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/kms11/kms11/sigv4"
)

// TestSessionLookup asks a lookup of its own about access keys that come with a token.
func TestSessionLookup(t *testing.T) {
	trouble := errors.New("trouble")
	v := sigv4.NewVerifier(sigv4.Config{
		Service: "kms",
		Lookup: func(_ context.Context, id string) (sigv4.Credential, error) {
			return sigv4.Credential{Secret: exampleSecret, Value: "long-term " + id}, nil
		},
		Session: func(_ *http.Request, id, token string) (sigv4.Credential, error) {
			switch token {
			case "good":
				return sigv4.Credential{Secret: exampleSecret, Expires: noon.Add(time.Second), Value: "session of " + id}, nil
			case "old":
				return sigv4.Credential{Secret: exampleSecret, Expires: noon}, nil
			case "trouble":
				return sigv4.Credential{}, trouble
			}
			return sigv4.Credential{}, sigv4.ErrUnknownKey
		},
		RegionOK: func(string) bool { return true },
		Now:      func() time.Time { return noon },
	})
	verify := func(token string) (any, error) {
		r := signedRequest(t, noon, sigv4.Credential{SessionToken: token}, "us-east-1", "kms")
		got, err := v.Verify(r, []byte(benchBody))
		return got.Credential.Value, err
	}
	for token, want := range map[string]string{"": "long-term " + exampleID, "good": "session of " + exampleID} {
		if got, err := verify(token); err != nil || got != want {
			t.Errorf("%q: got %v, %v", token, got, err)
		}
	}
	_, err := verify("bad")
	wantRefusal(t, err, sigv4.UnrecognizedClient, "The security token included in the request is invalid.")
	_, err = verify("old")
	wantRefusal(t, err, sigv4.ExpiredToken, "The security token included in the request is expired")
	if _, err := verify("trouble"); !errors.Is(err, trouble) {
		t.Errorf("got %v", err)
	}
	r := signedRequest(t, noon, sigv4.Credential{SessionToken: "good"}, "us-east-1", "kms")
	r.Header.Add("X-Amz-Security-Token", "good")
	_, err = v.Verify(r, []byte(benchBody))
	wantRefusal(t, err, sigv4.UnrecognizedClient, "The security token included in the request is invalid.")
	r = signedRequest(t, noon, sigv4.Credential{}, "us-east-1", "kms")
	r.Header["X-Amz-Security-Token"] = []string{""}
	_, err = v.Verify(r, []byte(benchBody))
	wantRefusal(t, err, sigv4.UnrecognizedClient, "The security token included in the request is invalid.")
}
