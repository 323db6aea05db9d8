package integration_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"go.etcd.io/bbolt"

	"github.com/kms11/kms11/integration/kms11test"
)

// TestTamperedHeader edits the keystore's header: the server does not start on it, and says why.
func TestTamperedHeader(t *testing.T) {
	server := kms11test.Start(t)
	createKey(t, server.Client(t))
	server.Stop(t)
	var good, key []byte
	editStore(t, server, func(records *bbolt.Bucket) {
		good = record(t, records, headerRecord)
		place, raw := records.Cursor().Seek([]byte(keyPrefix))
		if !bytes.HasPrefix(place, []byte(keyPrefix)) {
			t.Fatal("no key record")
		}
		key = bytes.Clone(raw)
	})
	for name, change := range map[string]func(raw []byte) []byte{
		"deleted":       func([]byte) []byte { return nil },
		"a key instead": func([]byte) []byte { return key },
		"cut short":     func(raw []byte) []byte { return raw[:len(raw)-1] },
		"the revision":  func(raw []byte) []byte { raw[15]++; return raw },
		"the MAC":       func(raw []byte) []byte { raw[len(raw)-1] ^= 1; return raw },
		"the scheme":    func(raw []byte) []byte { return replaced(t, raw, `"scheme":"ecb"`, `"scheme":"direct"`) },
		"a member more": func(raw []byte) []byte { return replaced(t, raw, `{"storeId"`, `{"x":1,"storeId"`) },
	} {
		t.Run(name, func(t *testing.T) {
			editStore(t, server, func(records *bbolt.Bucket) {
				changed := change(bytes.Clone(good))
				if changed != nil {
					putRecord(t, records, headerRecord, changed)
				} else if err := records.Delete([]byte(headerRecord)); err != nil {
					t.Fatal(err)
				}
			})
			wantRefusal(t, exitMismatch, keystoreFile, "serve", "--data", server.Dir, "--listen", server.Listen)
		})
	}
	editStore(t, server, func(records *bbolt.Bucket) { putRecord(t, records, headerRecord, good) })
	server.Restart(t)
	createKey(t, server.Client(t))
}

// TestOldHeader puts an old header back under newer records. Each start reads one that every run of
// the server rewrites, that of the audit trail, and refuses.
func TestOldHeader(t *testing.T) {
	server := kms11test.Start(t)
	server.Stop(t)
	var old []byte
	editStore(t, server, func(records *bbolt.Bucket) { old = record(t, records, headerRecord) })
	server.Restart(t)
	createKey(t, server.Client(t))
	server.Stop(t)
	editStore(t, server, func(records *bbolt.Bucket) { putRecord(t, records, headerRecord, old) })
	wantRefusal(t, exitMismatch, "an old header was put back", "serve", "--data", server.Dir, "--listen", server.Listen)
}

// TestExchangedTokens gives two servers each other's token: both refuse to start, name the domain
// they miss, and are whole again once each has its own.
func TestExchangedTokens(t *testing.T) {
	type party struct {
		server *kms11test.Server
		domain string
		key    string
		blob   []byte
	}
	var parties [2]party
	for i := range parties {
		server := kms11test.Start(t)
		client := server.Client(t)
		key := *createKey(t, client).KeyId
		blob := must(client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: &key, Plaintext: []byte("x")}))(t).CiphertextBlob
		output, _ := kms11test.Command(t, "status", "--data", server.Dir)
		var status struct{ Domain string }
		if err := json.Unmarshal([]byte(output), &status); err != nil || status.Domain == "" {
			t.Fatalf("kms11 status prints\n%s", output)
		}
		server.Stop(t)
		parties[i] = party{server, status.Domain, key, blob}
	}
	exchange := func() {
		one, two := filepath.Join(parties[0].server.Dir, "token"), filepath.Join(parties[1].server.Dir, "token")
		for _, rename := range [][2]string{{one, one + ".aside"}, {two, one}, {one + ".aside", two}} {
			if err := os.Rename(rename[0], rename[1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	exchange()
	for _, p := range parties {
		wantRefusal(t, exitMismatch, "belongs to another token (domain "+p.domain+")",
			"serve", "--data", p.server.Dir, "--listen", p.server.Listen)
	}
	exchange()
	for _, p := range parties {
		p.server.Restart(t)
		wantKeyWorks(t, p.server.Client(t), p.key, p.blob)
	}
}
