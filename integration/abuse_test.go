package integration_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

// TestAbuseLeavesNoTrace has many clients misbehave at once, in ways that other tests look at one
// by one, and some go away before their answer comes. The server then is as it was.
func TestAbuseLeavesNoTrace(t *testing.T) {
	server := startTalking(t)
	client := server.Client(t)
	key := createKey(t, client)
	huge := bytes.Repeat([]byte("x"), 10<<20)

	// send signs a body and gives the status of the answer; 0 when the connection was closed on it.
	send := func(operation string, signed, sent []byte, at time.Time) int {
		request := server.NewRequest(t, operation, sent)
		server.Sign(t, request, signed, at)
		answer, err := kms11test.Send(request)
		if err != nil {
			return 0
		}
		return answer.Status
	}
	abuses := map[string]func() (status int){
		"10 MB":   func() int { return send("Encrypt", huge, huge, time.Now()) },
		"no JSON": func() int { return send("Encrypt", huge[:100], huge[:100], time.Now()) },
		"deep JSON": func() int {
			deep := bytes.Repeat([]byte(`{"a":[`), 50_000)
			return send("Encrypt", deep, deep, time.Now())
		},
		"wrong types": func() int {
			body := []byte(`{"KeyId":{},"Plaintext":[1]}`)
			return send("Encrypt", body, body, time.Now())
		},
		"unsigned body": func() int { return send("ListKeys", []byte(`{}`), []byte(`{"Limit":1}`), time.Now()) },
		"a clock in April": func() int {
			return send("ListKeys", []byte(`{}`), []byte(`{}`), time.Date(2020, 4, 1, 0, 0, 0, 0, time.UTC))
		},
		"another target": func() int { return send("Nope", []byte(`{}`), []byte(`{}`), time.Now()) },
		"a body cut off": func() int {
			request := server.NewRequest(t, "ListKeys", nil)
			server.Sign(t, request, []byte(`{}`), time.Now())
			request.Body, request.ContentLength = io.NopCloser(strings.NewReader(`{`)), 100
			if answer, err := kms11test.Send(request); err == nil {
				return answer.Status
			}
			return 0
		},
	}
	var running sync.WaitGroup
	for name, abuse := range abuses {
		running.Go(func() {
			for range 10 {
				if status := abuse(); status != 0 && (status < 400 || status > 499) {
					t.Errorf("%s: got %d", name, status)
				}
			}
		})
	}
	for range 8 {
		running.Go(func() {
			for range 50 {
				ctx, leave := context.WithTimeout(t.Context(), rand.N(5*time.Millisecond))
				// Whether the answer comes in time does not matter.
				_, _ = client.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: key.KeyId, KeySpec: types.DataKeySpecAes256})
				leave()
			}
		})
	}
	running.Wait()
	for range 20 {
		if status := send("GenerateDataKey", []byte(`{"KeyId":"`+*key.KeyId+`","KeySpec":"AES_256"}`), []byte(`{"KeyId":"`+*key.KeyId+`","KeySpec":"AES_256"}`), time.Now()); status != http.StatusOK {
			t.Errorf("a good request afterwards: %d", status)
		}
	}
	wantNoTrouble(t, server)
}
