package ops

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/keystore"
)

// TestLastUsesBound: memory is bounded, filling up calls for a writing, and losses are told.
func TestLastUsesBound(t *testing.T) {
	h := newHarness(t)
	var log bytes.Buffer
	h.service.log = slog.New(slog.NewTextHandler(&log, nil))
	uses := h.service.lastUses
	key := func(i int) keystore.KeyID {
		return keystore.KeyID{Partition: "aws", Account: account, Region: testRegion, ID: fmt.Sprintf("ghost-%d", i)}
	}
	at := h.clock.Now()
	for i := range lastUsesBound + 2 {
		if crowded := len(uses.crowded) > 0; crowded != (i >= lastUsesCrowded) {
			t.Fatalf("with %d entries crowded is %t", i, crowded)
		}
		uses.note(key(i), lastUse{operation: "Sign", at: at})
	}
	uses.note(key(0), lastUse{operation: "Sign", at: at.Add(1)}) // one that has an entry
	if use, ok := uses.get(key(0)); !ok || !use.at.Equal(at.Add(1)) || uses.entries.Load() != lastUsesBound {
		t.Errorf("%d entries, the first one is %+v", uses.entries.Load(), use)
	}
	uses.note(key(0), lastUse{operation: "Verify", at: at}) // a request that was overtaken
	if use, _ := uses.get(key(0)); use.operation != "Sign" {
		t.Error("the time went back")
	}
	before := h.revision()
	h.writeLastUses() // to keys that do not exist
	if n := uses.entries.Load(); n != 0 || h.revision() != before || !strings.Contains(log.String(), "lost=2") {
		t.Errorf("%d entries, %d transactions, log %s", n, h.revision()-before, log.String())
	}
}

// TestLastUsesOfOneID: related keys share their id, and nothing else.
func TestLastUsesOfOneID(t *testing.T) {
	uses := newLastUses()
	at := time.Unix(1, 0)
	regions := []string{testRegion, ireland, oregon}
	key := func(region string) keystore.KeyID {
		return keystore.KeyID{Partition: "aws", Account: account, Region: region, ID: "mrk-1"}
	}
	for i, gone := range regions {
		for _, region := range regions {
			uses.note(key(region), lastUse{operation: "Sign", at: at, requestID: region})
		}
		uses.drop(key(gone), lastUse{}) // a use that is no longer the last one
		if len(uses.list()) != 3 || uses.entries.Load() != 3 {
			t.Errorf("%d entries are listed, %d counted", len(uses.list()), uses.entries.Load())
		}
		uses.drop(key(gone), lastUse{operation: "Sign", at: at, requestID: gone})
		for j, region := range regions {
			if use, ok := uses.get(key(region)); ok != (i != j) || ok && use.requestID != region {
				t.Errorf("without %s the use in %s is %+v, %t", gone, region, use, ok)
			}
		}
	}
	for _, entry := range uses.list() {
		uses.drop(entry.key, entry.use)
	}
	if len(uses.list()) != 0 || uses.entries.Load() != 0 || len(uses.shard(key(ireland)).entries) != 0 {
		t.Error("something is left")
	}
}

// usedCall is a request that used a key, of a service with the real clock.
func usedCall(t testing.TB) (*Service, *Call, key) {
	h := newHarness(t)
	h.service.now = time.Now
	call := h.call(account)
	call.Operation = "Encrypt"
	k, err := h.service.resolve(t.Context(), call, h.createKey(nil).KeyId)
	if err != nil {
		t.Fatal(err)
	}
	return h.service, call, k
}

func TestNotingAllocatesNothing(t *testing.T) {
	s, call, k := usedCall(t)
	if n := testing.AllocsPerRun(100, func() { call.begin("Encrypt", nil); call.uses(k); s.noteUses(call) }); n != 0 {
		t.Errorf("noting a use allocates %v times", n)
	}
}

// BenchmarkNoteUse is what a cryptographic request pays for its key's last use.
func BenchmarkNoteUse(b *testing.B) {
	s, call, k := usedCall(b)
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			call.begin("Encrypt", nil)
			call.uses(k)
			s.noteUses(call)
		}
	})
	b.Run("parallel on one key", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(p *testing.PB) {
			call := *call
			for p.Next() {
				call.begin("Encrypt", nil)
				call.uses(k)
				s.noteUses(&call)
			}
		})
	})
}
