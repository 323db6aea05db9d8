package integration_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

// regionServer is a server with a second Region, which can be given a token of its own.
type regionServer struct {
	*kms11test.Server
	config string
	uri    string // of the Region's token
}

func newRegionServer(t *testing.T) *regionServer {
	t.Helper()
	s := &regionServer{config: filepath.Join(t.TempDir(), "kms11.yaml")}
	s.configure(t, "")
	s.Server = kms11test.Start(t, "--config", s.config)
	return s
}

func (s *regionServer) configure(t *testing.T, more string) {
	t.Helper()
	if err := os.WriteFile(s.config, []byte("regions: ["+secondRegion+"]\n"+more), 0o600); err != nil {
		t.Fatal(err)
	}
}

// newToken makes one more SoftHSM2 token beside the server's own and gives its URI.
func (s *regionServer) newToken(t *testing.T, label string) string {
	t.Helper()
	output, code := kms11test.Command(t, "hsm", "info", "--json", "--data", s.Dir)
	var info struct{ Module string }
	if err := json.Unmarshal([]byte(output), &info); code != 0 || err != nil || info.Module == "" {
		t.Fatalf("kms11 hsm info left with %d: %v\n%s", code, err, output)
	}
	pin := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(pin, []byte("12345678\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	util := exec.Command("softhsm2-util", "--module", info.Module, "--init-token", "--free", "--label", label, "--so-pin", "12345678", "--pin", "12345678")
	util.Env = append(os.Environ(), "SOFTHSM2_CONF="+filepath.Join(s.Dir, "token", "softhsm2.conf"))
	if output, err := util.CombinedOutput(); err != nil {
		t.Fatalf("softhsm2-util, which `make deps` installs: %v\n%s", err, output)
	}
	return "pkcs11:token=" + label + "?module-path=" + info.Module + "&pin-source=file:" + pin
}

// giveToken stops the server, makes a token for the second Region, and starts the server with it.
func (s *regionServer) giveToken(t *testing.T) {
	t.Helper()
	s.Stop(t)
	s.uri = s.newToken(t, "europe")
	s.configure(t, s.regionTokens(s.uri))
	s.Restart(t)
}

func (s *regionServer) regionTokens(uri string) string {
	return "regiontokens:\n  " + secondRegion + ": ['" + uri + "']\n"
}

// TestRegionToken gives a Region a token of its own when the server has keys already, and takes a key
// through both tokens.
func TestRegionToken(t *testing.T) {
	server := newRegionServer(t)
	ctx := t.Context()
	here := server.Client(t)
	there := in(here, secondRegion)
	old := must(here.CreateKey(ctx, &kms.CreateKeyInput{MultiRegion: aws.Bool(true)}))(t).KeyMetadata.KeyId
	must(here.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: old, ReplicaRegion: aws.String(secondRegion)}))(t)
	before := must(there.Encrypt(ctx, &kms.EncryptInput{KeyId: old, Plaintext: []byte("before")}))(t).CiphertextBlob

	server.giveToken(t)
	here = server.Client(t)
	there = in(here, secondRegion)
	key := must(here.CreateKey(ctx, &kms.CreateKeyInput{MultiRegion: aws.Bool(true)}))(t).KeyMetadata.KeyId
	pair := must(here.CreateKey(ctx, &kms.CreateKeyInput{MultiRegion: aws.Bool(true), KeySpec: types.KeySpecEccNistP256, KeyUsage: types.KeyUsageTypeSignVerify}))(t).KeyMetadata.KeyId
	blobs := [][]byte{before}
	for _, id := range []*string{key, pair} {
		must(here.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: id, ReplicaRegion: aws.String(secondRegion)}))(t)
	}
	seal := func(id *string, clients ...*kms.Client) {
		for _, client := range clients {
			blobs = append(blobs, must(client.Encrypt(ctx, &kms.EncryptInput{KeyId: id, Plaintext: []byte("before")}))(t).CiphertextBlob)
		}
	}
	seal(key, here, there)
	for _, id := range []*string{old, key} {
		must(here.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: id}))(t)
		seal(id, here, there)
	}
	check := func() {
		t.Helper()
		for _, client := range []*kms.Client{here, there} {
			for i, blob := range blobs {
				if out := must(client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob}))(t); string(out.Plaintext) != "before" {
					t.Errorf("blob %d decrypts to something else", i)
				}
			}
		}
		message := &kms.SignInput{KeyId: pair, Message: []byte("m"), SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256}
		signature := must(there.Sign(ctx, message))(t).Signature
		must(here.Verify(ctx, &kms.VerifyInput{KeyId: pair, Message: message.Message, SigningAlgorithm: message.SigningAlgorithm, Signature: signature}))(t)
	}
	check()
	if ours, theirs := describe(t, here, *key), describe(t, there, *key); *ours.CurrentKeyMaterialId != *theirs.CurrentKeyMaterialId {
		t.Error("the Regions do not share the material")
	}
	output, code := kms11test.Command(t, "status", "--data", server.Dir)
	var status struct {
		Domain  string
		Healthy bool
		Regions []struct {
			Region, Domain string
			Healthy        bool
		}
	}
	if err := json.Unmarshal([]byte(output), &status); err != nil || code != 0 || !status.Healthy || len(status.Regions) != 1 ||
		status.Regions[0].Region != secondRegion || !status.Regions[0].Healthy || status.Regions[0].Domain == status.Domain {
		t.Errorf("kms11 status left with %d, %v:\n%s", code, err, output)
	}
	wantHealth(t, server.Server, secondRegion, http.StatusOK, "ok\n")
	wantHealth(t, server.Server, kms11test.Region, http.StatusOK, "ok\n")
	wantHealth(t, server.Server, "us-west-2", http.StatusNotFound, "not served\n")
	server.Kill(t)
	server.Restart(t)
	here = server.Client(t)
	there = in(here, secondRegion)
	check()
	server.Stop(t)

	// Without its tokens, or with others, the Region is not served as if nothing were wrong.
	serve := func() []string {
		return []string{"serve", "--data", server.Dir, "--config", server.config, "--listen", kms11test.FreeAddress(t)}
	}
	server.configure(t, "")
	wantRefusal(t, exitMismatch, "name them in regiontokens", serve()...)
	server.configure(t, server.regionTokens(server.newToken(t, "another")))
	wantRefusal(t, exitMismatch, secondRegion, serve()...)
	server.configure(t, strings.Replace(server.regionTokens(server.uri), secondRegion, secondRegion+": ['"+server.uri+"']\n  us-west-2", 1))
	wantRefusal(t, exitUsage, "us-west-2 is not served", serve()...)

	// With its tokens away the other Region is served; when they are back so is this one.
	server.configure(t, server.regionTokens(strings.Replace(server.uri, "token=europe", "token=elsewhere", 1)))
	server.Restart(t)
	here = server.Client(t)
	there = in(here, secondRegion)
	_, err := there.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blobs[1]})
	wantError[*types.KeyUnavailableException](t, err, "The request was rejected because the specified KMS key was not available. You can retry the request.")
	must(here.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blobs[1]}))(t)
	wantHealth(t, server.Server, secondRegion, http.StatusServiceUnavailable, "unavailable\n")
	wantHealth(t, server.Server, "", http.StatusOK, "ok\n"+secondRegion+" unavailable\n")
	if output, code := kms11test.Command(t, "status", "--data", server.Dir); code == 0 || !strings.Contains(output, secondRegion) {
		t.Errorf("kms11 status left with %d:\n%s", code, output)
	}
	server.Stop(t)
	server.configure(t, server.regionTokens(server.uri))
	server.Restart(t)
	here = server.Client(t)
	there = in(here, secondRegion)
	check()
	wantHealth(t, server.Server, secondRegion, http.StatusOK, "ok\n")
	wantHealth(t, server.Server, "", http.StatusOK, "ok\n")
}

func wantHealth(t *testing.T, server *kms11test.Server, region string, want int, body string) {
	t.Helper()
	response, err := http.Get("http://" + server.Listen + "/healthz?region=" + region)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if text := must(io.ReadAll(response.Body))(t); response.StatusCode != want || string(text) != body {
		t.Errorf("the health of %q is %d %q, want %d %q", region, response.StatusCode, text, want, body)
	}
}

// TestRegionTokenKilled kills the server while keys are replicated and rotated, and wants every answer to
// hold and the Regions to agree on every key.
func TestRegionTokenKilled(t *testing.T) {
	server := newRegionServer(t)
	server.giveToken(t)
	type answered struct {
		id       string
		blob     []byte
		replica  bool
		rotation int
	}
	var mu sync.Mutex
	var book []*answered
	for round := range 3 {
		here := server.Client(t)
		changes := make(chan struct{}, 1000)
		var running sync.WaitGroup
		for range 2 {
			running.Go(func() {
				for {
					key, err := here.CreateKey(t.Context(), &kms.CreateKeyInput{MultiRegion: aws.Bool(true)})
					if err != nil {
						return
					}
					sealed, err := here.Encrypt(t.Context(), &kms.EncryptInput{KeyId: key.KeyMetadata.KeyId, Plaintext: []byte("text")})
					if err != nil {
						return
					}
					a := &answered{id: *key.KeyMetadata.KeyId, blob: sealed.CiphertextBlob}
					mu.Lock()
					book = append(book, a)
					mu.Unlock()
					if _, err := here.ReplicateKey(t.Context(), &kms.ReplicateKeyInput{KeyId: &a.id, ReplicaRegion: aws.String(secondRegion)}); err != nil {
						return
					}
					a.replica = true
					changes <- struct{}{}
					for range 2 {
						if _, err := here.RotateKeyOnDemand(t.Context(), &kms.RotateKeyOnDemandInput{KeyId: &a.id}); err != nil {
							return
						}
						a.rotation++
						changes <- struct{}{}
					}
				}
			})
		}
		go func() {
			running.Wait()
			close(changes) // a worker that failed must not be waited for
		}()
		// In the middle of what follows the first answers, wherever that is.
		for range 1 + round {
			<-changes
		}
		time.Sleep(time.Duration(50*(round+1)) * time.Millisecond) // only chooses where it is cut
		server.Kill(t)
		running.Wait()
		server.Restart(t)
		here = server.Client(t)
		there := in(here, secondRegion)
		for _, a := range book {
			ours := describe(t, here, a.id)
			theirs, err := there.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &a.id})
			if missing := new(types.NotFoundException); errors.As(err, &missing) {
				if a.replica || len(ours.MultiRegionConfiguration.ReplicaKeys) != 0 {
					t.Errorf("a replica is gone: answered %v, listed %d", a.replica, len(ours.MultiRegionConfiguration.ReplicaKeys))
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if *ours.CurrentKeyMaterialId != *theirs.KeyMetadata.CurrentKeyMaterialId {
				t.Error("the Regions do not agree on the material")
			}
			if n := len(must(here.ListKeyRotations(t.Context(), &kms.ListKeyRotationsInput{KeyId: &a.id}))(t).Rotations); n < a.rotation {
				t.Errorf("%d rotations of %d that were answered are there", n, a.rotation)
			}
			for _, pair := range [][2]*kms.Client{{here, there}, {there, here}} {
				sealed := must(pair[0].Encrypt(t.Context(), &kms.EncryptInput{KeyId: &a.id, Plaintext: []byte("now")}))(t)
				for text, blob := range map[string][]byte{"text": a.blob, "now": sealed.CiphertextBlob} {
					if out := must(pair[1].Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: blob}))(t); string(out.Plaintext) != text {
						t.Errorf("%q is another text", text)
					}
				}
			}
		}
	}
	t.Logf("%d keys", len(book))
}
