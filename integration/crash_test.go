package integration_test

import (
	"context"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

// ledger is what the server acknowledged: after any crash it must still be true.
type ledger struct {
	mu      sync.Mutex
	entries []acknowledged
}

type acknowledged struct {
	arn      string
	confirm  evidence
	disabled bool
}

// crashKinds are the kinds that are quick to make. Ed25519 keys stay in the token as objects of its
// own; the others rest in the keystore.
func crashKinds() []kind {
	return []kind{
		{types.KeySpecSymmetricDefault, types.KeyUsageTypeEncryptDecrypt},
		{types.KeySpecEccNistEdwards25519, types.KeyUsageTypeSignVerify},
		{types.KeySpecHmac256, types.KeyUsageTypeGenerateVerifyMac},
		{types.KeySpecEccSecgP256k1, types.KeyUsageTypeSignVerify},
		{types.KeySpecEccNistP384, types.KeyUsageTypeKeyAgreement},
	}
}

func (l *ledger) add(entry acknowledged) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, entry)
}

// TestKillNine kills the server under load, several times over, and checks after each restart
// that no acknowledged key, ciphertext or state was lost and that no half-made key is left.
func TestKillNine(t *testing.T) {
	const rounds, workers = 5, 6
	server := kms11test.Start(t)
	client := server.Client(t)
	var book ledger
	for round := range rounds {
		var killed atomic.Bool
		var running sync.WaitGroup
		acknowledgements := make(chan struct{}, 1024)
		for worker := range workers {
			running.Go(func() {
				for i := 0; ; i++ {
					entry, err := work(t.Context(), client, crashKinds()[(worker+i)%len(crashKinds())], i%3 == 2)
					if err != nil {
						if !killed.Load() {
							t.Errorf("before the kill: %v", err)
						}
						return
					}
					book.add(entry)
					select {
					case acknowledgements <- struct{}{}:
					default:
					}
				}
			})
		}
		stopped := make(chan struct{})
		go func() { running.Wait(); close(stopped) }()
		for range 5 + rand.IntN(40) {
			select {
			case <-acknowledgements:
			case <-stopped: // every worker failed: reported above
			}
		}
		killed.Store(true)
		server.Kill(t)
		<-stopped
		if t.Failed() {
			return
		}

		server.Restart(t)
		client = server.Client(t)
		checkLedger(t, client, book.entries)
		checkEveryKeyWhole(t, client, len(book.entries))
		t.Logf("round %d: %d acknowledged keys are whole", round+1, len(book.entries))
	}
}

// work makes a key, has it make evidence of itself and perhaps disables it. An entry is what was
// acknowledged in full.
func work(ctx context.Context, client *kms.Client, k kind, disable bool) (acknowledged, error) {
	made, err := client.CreateKey(ctx, &kms.CreateKeyInput{KeySpec: k.spec, KeyUsage: k.usage})
	if err != nil {
		return acknowledged{}, err
	}
	confirm, err := evidenceOf(ctx, client, made.KeyMetadata)
	if err != nil {
		return acknowledged{}, err
	}
	if disable {
		_, err = client.DisableKey(ctx, &kms.DisableKeyInput{KeyId: made.KeyMetadata.KeyId})
	}
	return acknowledged{*made.KeyMetadata.Arn, confirm, disable}, err
}

func checkLedger(t *testing.T, client *kms.Client, entries []acknowledged) {
	t.Helper()
	for _, entry := range entries {
		if found := describe(t, client, entry.arn); found.Enabled == entry.disabled {
			t.Fatalf("%s: enabled is %v after the crash", entry.arn, found.Enabled)
		}
		err := entry.confirm(t.Context(), client)
		if entry.disabled {
			wantError[*types.DisabledException](t, err, entry.arn+" is disabled.")
		} else if err != nil {
			t.Fatalf("%s after the crash: %v", entry.arn, err)
		}
	}
}

// checkEveryKeyWhole uses every key that is listed: a CreateKey that was cut short left either
// nothing or a whole key.
func checkEveryKeyWhole(t *testing.T, client *kms.Client, atLeast int) {
	t.Helper()
	count := 0
	pages := kms.NewListKeysPaginator(client, &kms.ListKeysInput{Limit: aws.Int32(1000)})
	for pages.HasMorePages() {
		for _, entry := range must(pages.NextPage(t.Context()))(t).Keys {
			count++
			if found := describe(t, client, *entry.KeyArn); found.Enabled {
				must(evidenceOf(t.Context(), client, found))(t)
			}
		}
	}
	if count < atLeast {
		t.Fatalf("%d keys are listed, %d were acknowledged", count, atLeast)
	}
}

// TestKillDuringTheFirstStart kills first starts while they make token and keystore. Whatever
// they left, the next start ends with a server that works.
func TestKillDuringTheFirstStart(t *testing.T) {
	for range 8 {
		dir := filepath.Join(t.TempDir(), "data")
		first := exec.Command(kms11test.Binary(t), "serve", "--data", dir, "--listen", kms11test.FreeAddress(t),
			"--account", kms11test.Account, "--region", kms11test.Region)
		first.Env = kms11test.ServerEnv(t)
		if err := first.Start(); err != nil {
			t.Fatal(err)
		}
		pause := rand.N(700 * time.Millisecond) // any moment of a first start, or soon after
		time.Sleep(pause)
		if err := first.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = first.Wait() // it was killed

		server := kms11test.StartIn(t, dir)
		client := server.Client(t)
		key := createKey(t, client)
		must(client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x")}))(t)
		server.Stop(t)
		if t.Failed() {
			t.Fatalf("after a kill at %v", pause)
		}
	}
}
