package integration_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"github.com/kms11/kms11/integration/kms11test"
)

// faultsFor is how long TestTokenFaults goes on: `make faults` sets KMS11_FAULTS_FOR to more.
func faultsFor(t *testing.T) time.Duration {
	t.Helper()
	if text, set := os.LookupEnv("KMS11_FAULTS_FOR"); set {
		return must(time.ParseDuration(text))(t)
	}
	return 12 * time.Second
}

// faultKinds are the keys that TestTokenFaults uses.
var faultKinds = []kind{
	{types.KeySpecSymmetricDefault, types.KeyUsageTypeEncryptDecrypt},
	{types.KeySpecSymmetricDefault, types.KeyUsageTypeEncryptDecrypt},
	{types.KeySpecRsa2048, types.KeyUsageTypeEncryptDecrypt},
	{types.KeySpecRsa2048, types.KeyUsageTypeSignVerify},
	{types.KeySpecEccNistP256, types.KeyUsageTypeSignVerify},
	{types.KeySpecHmac256, types.KeyUsageTypeGenerateVerifyMac},
	{types.KeySpecEccNistP384, types.KeyUsageTypeKeyAgreement},
}

// TestTokenFaults has one call of a hundred into the token fail with each of the codes of a token's
// bad days and one of ten thousand hang, and now and then the whole token go away, under 32
// connections. No answer may be wrong, and when the faults end the server must serve again without
// a restart, with no more sessions and objects than before and no PIN refused.
func TestTokenFaults(t *testing.T) {
	const workers = 32
	module := newFaultModule(t)
	config := filepath.Join(t.TempDir(), "kms11.yaml")
	if err := os.WriteFile(config, []byte("limits:\n  call: 1\nlog:\n  level: error\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := kms11test.Start(t, "--config", config)
	client := server.Client(t)
	var keys []*types.KeyMetadata
	for _, k := range faultKinds {
		keys = append(keys, newKey(t, client, k.spec, k.usage))
	}
	before := aliveAfterLoss(t, module, client, keys)

	module.set(t, hangMillis, 3000)
	module.set(t, hangsOfMillion, 100)
	module.set(t, faultsOfMillion, 10_000)
	ctx, cancel := context.WithTimeout(t.Context(), faultsFor(t))
	defer cancel()
	var tallies [workers]tally
	var running sync.WaitGroup
	for i := range tallies {
		running.Go(func() {
			for ctx.Err() == nil {
				tallies[i].try(t, client, keys[rand.IntN(len(keys))])
			}
		})
	}
	var outages []time.Duration
	for ctx.Err() == nil {
		outages = append(outages, outage(t, ctx, module, client, keys[0]))
	}
	running.Wait()
	module.set(t, faultsOfMillion, 0)
	module.set(t, hangsOfMillion, 0)
	module.set(t, hangMillis, 0)

	var total tally
	for i := range tallies {
		total.add(&tallies[i])
	}
	slices.Sort(total.took)
	t.Logf("%d rounds, %d failed (%.1f %%): %v; p50 %v, p99 %v; of %d token calls %d failed, %d hung; %d logins; back after %v",
		len(total.took)+total.failed, total.failed, 100*float64(total.failed)/float64(len(total.took)+total.failed), total.codes,
		total.took[len(total.took)/2].Round(time.Millisecond), total.took[len(total.took)*99/100].Round(time.Millisecond),
		module.get(t, callCount), module.get(t, failedCount), module.get(t, hungCount), module.get(t, loginCount), outages)
	if n := module.get(t, refusedPINs); n != 0 {
		t.Errorf("%d PINs were refused", n)
	}
	after := aliveAfterLoss(t, module, client, keys)
	if after != before {
		t.Errorf("before the faults the token had %v, after them %v", before, after)
	}
}

// alive is what a server has in its token.
type alive struct{ sessions, objects uint64 }

func (a alive) String() string {
	return fmt.Sprintf("%d sessions and %d objects", a.sessions, a.objects)
}

// aliveAfterLoss takes the token away for a moment, so that the server begins anew with it, uses each
// key and counts what there is then, once it does not change any more.
func aliveAfterLoss(t *testing.T, module *faultModule, client *kms.Client, keys []*types.KeyMetadata) alive {
	t.Helper()
	module.set(t, isDead, 1)
	_, _ = evidenceOf(t.Context(), client, keys[0]) // fails
	module.set(t, isDead, 0)
	for deadline := time.Now().Add(recoveryBound); ; {
		var failed error
		for _, key := range keys {
			confirm, err := evidenceOf(t.Context(), client, key)
			if err == nil {
				err = confirm(t.Context(), client)
			}
			failed = errors.Join(failed, err)
		}
		if failed == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server does not serve again: %v", failed)
		}
	}
	now := alive{}
	for deadline, still := time.Now().Add(recoveryBound), 0; still < 20; time.Sleep(100 * time.Millisecond) {
		last := now
		now = alive{module.get(t, openSessions), module.get(t, liveObjects)}
		if still++; now != last {
			still = 0
		}
		if time.Now().After(deadline) {
			t.Fatalf("the sessions and objects do not come to rest: %v", now)
		}
	}
	return now
}

// recoveryBound only ends a test that hangs.
const recoveryBound = time.Minute

// outage takes the token away for a moment and gives how long the server needed to serve a key again
// after it was back.
func outage(t *testing.T, ctx context.Context, module *faultModule, client *kms.Client, key *types.KeyMetadata) time.Duration {
	t.Helper()
	select {
	case <-ctx.Done():
		return 0
	case <-time.After(4 * time.Second):
	}
	module.set(t, isDead, 1)
	time.Sleep(2 * time.Second)
	module.set(t, isDead, 0)
	back := time.Now()
	for {
		_, err := client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte(testimony)})
		if err == nil {
			return time.Since(back).Round(time.Millisecond)
		}
		if time.Since(back) > recoveryBound {
			t.Fatalf("the token is back and the server does not serve: %v", err)
		}
	}
}

// A tally is what one connection saw.
type tally struct {
	took   []time.Duration
	failed int
	codes  map[string]int
}

// try has a key make something and confirm it.
func (c *tally) try(t *testing.T, client *kms.Client, key *types.KeyMetadata) {
	begun := time.Now()
	confirm, err := evidenceOf(t.Context(), client, key)
	if err == nil {
		err = confirm(t.Context(), client)
	}
	if err == nil {
		c.took = append(c.took, time.Since(begun))
		return
	}
	var fault smithy.APIError
	code := "none"
	if errors.As(err, &fault) {
		code = fault.ErrorCode()
	}
	// Anything but these, which ask the client to try again, is a wrong answer.
	if code != "KeyUnavailableException" && code != "KMSInternalException" {
		t.Errorf("%s %s: %v", key.KeySpec, key.KeyUsage, err)
	}
	c.failed++
	if c.codes == nil {
		c.codes = map[string]int{}
	}
	c.codes[code]++
}

func (c *tally) add(other *tally) {
	c.took = append(c.took, other.took...)
	c.failed += other.failed
	if c.codes == nil {
		c.codes = map[string]int{}
	}
	for code, n := range other.codes {
		c.codes[code] += n
	}
}

// TestHangingCall has a call into the token hang. Other requests are answered at once, and the server
// serves again when its next conn works, while the call still hangs.
func TestHangingCall(t *testing.T) {
	module := newFaultModule(t)
	config := filepath.Join(t.TempDir(), "kms11.yaml")
	if err := os.WriteFile(config, []byte("limits:\n  call: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	client := kms11test.Start(t, "--config", config).Client(t)
	key := newKey(t, client, types.KeySpecSymmetricDefault, types.KeyUsageTypeEncryptDecrypt)
	confirm := must(evidenceOf(t.Context(), client, key))(t)

	module.set(t, hangMillis, uint64(recoveryBound.Milliseconds()))
	module.set(t, hangsOfMillion, 1_000_000)
	hung := make(chan error, 1)
	go func() {
		_, err := evidenceOf(t.Context(), client, key)
		hung <- err
	}()
	for module.get(t, hungCount) == 0 {
		time.Sleep(time.Millisecond)
	}
	module.set(t, hangsOfMillion, 0)
	for deadline := time.Now().Add(recoveryBound / 2); ; {
		err := confirm(t.Context(), client) // waits for the session of the call until it is given up
		if err == nil {
			break
		}
		var fault smithy.APIError
		if !errors.As(err, &fault) || fault.ErrorCode() != "KeyUnavailableException" || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	select {
	case err := <-hung:
		t.Errorf("the call that hangs has ended already: %v", err)
	default:
	}
	module.set(t, hangMillis, 0)
	if err := <-hung; err != nil { // its conn is gone: it was done again on the next
		t.Errorf("the request of the call that hung: %v", err)
	}
}

// TestLeakIsEnded sends ciphertexts with nonces that nobody made. Each costs SoftHSM2 an object and
// 240 bytes that it never gives back; the server has it initialised again before that is too much,
// and nobody notices.
func TestLeakIsEnded(t *testing.T) {
	const workers, each = 4, 3000 // 2.8 MB
	module := newFaultModule(t)
	config := filepath.Join(t.TempDir(), "kms11.yaml")
	if err := os.WriteFile(config, []byte("limits:\n  leak: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	client := kms11test.Start(t, "--config", config).Client(t)
	key := newKey(t, client, types.KeySpecSymmetricDefault, types.KeyUsageTypeEncryptDecrypt)
	sealed := must(client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte(testimony)}))(t).CiphertextBlob
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for i := range each {
				forged := slices.Clone(sealed)
				for at := range 8 {
					forged[forgedNonce+at] = byte(rand.Uint32())
				}
				_, err := client.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: forged})
				var refused *types.InvalidCiphertextException
				if !errors.As(err, &refused) {
					t.Errorf("a forged ciphertext: %v", err)
					return
				}
				if i%500 == 0 {
					if _, err := client.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: sealed}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	running.Wait()
	if n := module.get(t, restartCount); n == 0 {
		t.Error("the library was never initialised again")
	} else {
		t.Logf("the library was initialised again %d times for %d forged ciphertexts", n, workers*each)
	}
}

// forgedNonce is where in a ciphertext the nonce is: behind version, flags, key id and ordinal (see
// docs/formats.md).
const forgedNonce = 1 + 1 + 16 + 4
