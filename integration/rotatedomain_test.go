package integration_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

// A rotationStatus is the part of kms11 status that the tests read.
type rotationStatus struct {
	Healthy bool   `json:"healthy"`
	Domain  string `json:"domain"`
	Tokens  []struct {
		URI string `json:"uri"`
	} `json:"tokens"`
	Rotations []struct {
		Phase   string `json:"phase"`
		Changed int    `json:"changed"`
		Problem string `json:"problem"`
	} `json:"rotations"`
}

func statusOf(t *testing.T, dir string) (s rotationStatus) {
	t.Helper()
	output, _ := kms11test.Command(t, "status", "--data", dir)
	if err := json.Unmarshal([]byte(output), &s); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	return s
}

// phase is that of the one rotation, "" if there is none.
func (s rotationStatus) phase() string {
	if len(s.Rotations) == 0 {
		return ""
	}
	return s.Rotations[0].Phase
}

// TestRotateDomainKilled kills the server several times while it rotates its domain's keys under load. Each
// restart goes on where it was, and every acknowledged key, old and new, works each time.
func TestRotateDomainKilled(t *testing.T) {
	const keys, rounds = 250, 5
	server := kms11test.Start(t)
	client := server.Client(t)
	var book ledger
	for i := range keys {
		entry, err := work(t.Context(), client, crashKinds()[i%len(crashKinds())], false)
		if err != nil {
			t.Fatal(err)
		}
		book.add(entry)
	}
	if output, code := kms11test.Command(t, "hsm", "rotate-domain", "--data", server.Dir); code != 0 {
		t.Fatal(output)
	}
	for range rounds {
		var killed atomic.Bool
		var running sync.WaitGroup
		for worker := range 2 {
			running.Go(func() {
				for i := worker; ; i++ {
					entry, err := work(t.Context(), client, crashKinds()[i%len(crashKinds())], false)
					if err != nil {
						if !killed.Load() {
							t.Errorf("before the kill: %v", err)
						}
						return
					}
					book.add(entry)
				}
			})
		}
		time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond) // anywhere
		killed.Store(true)
		server.Kill(t)
		running.Wait()
		if t.Failed() {
			return
		}
		server.Restart(t)
		client = server.Client(t)
		checkLedger(t, client, book.entries)
	}
	awaitWaiting(t, server.Dir)
	checkLedger(t, client, book.entries)
	output, code := kms11test.Command(t, "hsm", "rotate-domain", "--data", server.Dir)
	if code == 0 || !strings.Contains(output, "under way") {
		t.Errorf("a second rotation: %d, %s", code, output)
	}
	if output, code = kms11test.Command(t, "hsm", "orphans", "--json", "--data", server.Dir); code != 0 {
		t.Fatal(output)
	}
	var orphans []struct{ Role string }
	if err := json.Unmarshal([]byte(output), &orphans); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	for _, o := range orphans { // a kill in CreateKey may leave resident keys
		if o.Role != "resident" {
			t.Errorf("an orphan has the role %s", o.Role)
		}
	}
	log := server.Log(t)
	wrapping := strings.Count(log, "phase=wrapping")
	t.Logf("%d of %d kills came while the store was brought to the new keys; %d keys are whole, %d orphans", wrapping, rounds, len(book.entries), len(orphans))
}

func awaitWaiting(t *testing.T, dir string) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		s := statusOf(t, dir)
		if s.phase() == "waiting" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the rotation does not get on: %+v", s)
		}
	}
}

// TestAddToken adds a second token to a server's domain on the command line, and has the server killed and
// started with the configuration of before, which does not name the token yet.
func TestAddToken(t *testing.T) {
	dir := t.TempDir()
	store := filepath.Join(dir, "tokens")
	if err := os.Mkdir(store, 0o700); err != nil {
		t.Fatal(err)
	}
	kms11test.Write(t, dir, "softhsm2.conf", "directories.tokendir = "+store+"\n")
	pin := kms11test.Write(t, dir, "pin", "a PIN\n")
	t.Setenv("SOFTHSM2_CONF", filepath.Join(dir, "softhsm2.conf"))
	var uris []string
	for i := range 2 {
		uri, code := kms11test.Command(t, "hsm", "init-token", "--label", fmt.Sprint("token ", i), "--pin-file", pin, "--so-pin-file", pin)
		if code != 0 {
			t.Fatal(uri)
		}
		uris = append(uris, strings.TrimSpace(uri))
	}
	config := kms11test.Write(t, dir, "kms11.yaml", "tokens:\n  - "+uris[0]+"\n")
	data := filepath.Join(dir, "data")
	if output, code := kms11test.Command(t, "init", "--config", config, "--data", data, "--account", kms11test.Account); code != 0 {
		t.Fatal(output)
	}
	server := kms11test.StartIn(t, data, "--config", config)
	client := server.Client(t)
	var book ledger
	for _, k := range crashKinds() {
		entry, err := work(t.Context(), client, k, false)
		if err != nil {
			t.Fatal(err)
		}
		book.add(entry)
	}
	rotate := func(args ...string) (string, int) {
		t.Helper()
		return kms11test.Command(t, append([]string{"hsm", "rotate-domain", "--data", data}, args...)...)
	}
	both := []string{"--tokens", uris[0], "--tokens", uris[1]}
	if output, code := rotate(both...); code != 1 || !strings.Contains(output, "no enrolment pair") {
		t.Errorf("without hsm enroll: %d, %s", code, output)
	}
	fingerprint, code := kms11test.Command(t, "hsm", "enroll", "--token", uris[1])
	fingerprint = strings.TrimSpace(fingerprint)
	if code != 0 || len(fingerprint) != 64 {
		t.Fatalf("hsm enroll: %d, %s", code, fingerprint)
	}
	// Nobody answers the question.
	if output, code := rotate(both...); code != 1 || !strings.Contains(output, fingerprint) || !strings.Contains(output, "not confirmed") {
		t.Errorf("without a confirmation: %d, %s", code, output)
	}
	if output, code := rotate(append(both, "--fingerprint", strings.Repeat("0", 64))...); code != 1 || !strings.Contains(output, "no --fingerprint names") {
		t.Errorf("another fingerprint: %d, %s", code, output)
	}
	if output, code := rotate("--tokens", uris[1], "--fingerprint", fingerprint); code != 1 || !strings.Contains(output, "has to stay") {
		t.Errorf("both at once: %d, %s", code, output)
	}
	if output, code := rotate(append(both, "--fingerprint", fingerprint, "--wait")...); code != 0 || !strings.Contains(output, "destroyed after") {
		t.Fatalf("rotate-domain: %d, %s", code, output)
	}
	status := statusOf(t, data)
	if !status.Healthy || len(status.Tokens) != 2 || status.phase() != "waiting" {
		t.Errorf("the status is %+v", status)
	}
	checkLedger(t, client, book.entries)
	server.Kill(t)
	server.Restart(t)
	client = server.Client(t)
	if status := statusOf(t, data); !status.Healthy || len(status.Tokens) != 2 {
		t.Errorf("after a restart the status is %+v", status)
	}
	checkLedger(t, client, book.entries)
	newKey(t, client, types.KeySpecEccNistP256, types.KeyUsageTypeSignVerify)
}
