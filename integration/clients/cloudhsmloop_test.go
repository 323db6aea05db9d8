package clients_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/integration/kms11test"
)

// Where distributions put what these tests need; the first that is there counts.
var (
	softHSMModules = []string{
		"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so", "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
		"/usr/lib64/pkcs11/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so", "/usr/lib/pkcs11/libsofthsm2.so",
		"/opt/homebrew/lib/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so",
	}
	spyModules = []string{
		"/usr/lib/x86_64-linux-gnu/pkcs11-spy.so", "/usr/lib/aarch64-linux-gnu/pkcs11-spy.so", "/usr/lib64/pkcs11/pkcs11-spy.so", "/usr/lib64/pkcs11-spy.so",
		"/usr/lib/pkcs11-spy.so", "/opt/homebrew/lib/pkcs11-spy.so", "/usr/local/lib/pkcs11-spy.so",
	}
)

func firstOf(t testing.TB, what string, paths []string) string {
	t.Helper()
	for _, path := range paths {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Fatalf("no %s: run `make integration-deps`", what)
	return ""
}

func softHSM(t testing.TB) string {
	t.Helper()
	if module := os.Getenv("SOFTHSM2_MODULE"); module != "" {
		return module
	}
	return firstOf(t, "libsofthsm2.so", softHSMModules)
}

// copied copies a library, which has a state of its own then.
func copied(t testing.TB, library string) string {
	t.Helper()
	text, err := os.ReadFile(library)
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, filepath.Base(library), text)
}

const (
	cluster    = "cluster-testtesttes"
	clusterPIN = "0123456789"
)

// hsmServer is a server with a second SoftHSM2 token, which is a cluster of HSMs for it.
type hsmServer struct {
	keyStores
	anchor string // PEM file of the cluster's trust anchor
}

// startHSMServer starts a server whose cluster is reached by a library.
func startHSMServer(t *testing.T, library string) *hsmServer {
	t.Helper()
	anchor := writeFile(t, "anchor.pem", newAuthority(t).pem())
	config := writeFile(t, "kms11.yaml", []byte("keystores:\n  clusters:\n    - id: "+cluster+"\n      token: pkcs11:token=cluster?module-path="+library+"\n      trustanchor: "+anchor+"\n"))
	s := kms11test.Start(t, "--config", config)
	h := &hsmServer{keyStores{newCLI(t, s), s}, anchor}
	h.tool(t, "softhsm2-util", "--init-token", "--free", "--label", "cluster", "--so-pin", clusterPIN, "--pin", clusterPIN)
	return h
}

// tool runs a tool on the server's tokens and gives its output.
func (h *hsmServer) tool(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(kms11test.ServerEnv(t), "SOFTHSM2_CONF="+filepath.Join(h.server.Dir, "token", "softhsm2.conf"))
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s (`make integration-deps` installs it): %v\n%s", name, err, output)
	}
	return string(output)
}

// pkcs11Tool runs OpenSC's tool on the cluster's token, as its owner does.
func (h *hsmServer) pkcs11Tool(t testing.TB, args ...string) string {
	t.Helper()
	return h.tool(t, "pkcs11-tool", append([]string{"--module", softHSM(t), "--token-label", "cluster", "--login", "--pin", clusterPIN}, args...)...)
}

func (h *hsmServer) create(t *testing.T, password string) (store string) {
	t.Helper()
	var made struct{ CustomKeyStoreId string }
	h.ask(t, &made, "create-custom-key-store", "--custom-key-store-name", "hsm", "--cloud-hsm-cluster-id", cluster,
		"--trust-anchor-certificate", "file://"+h.anchor, "--key-store-password", password)
	return made.CustomKeyStoreId
}

func (h *hsmServer) newKey(t *testing.T, store string) (id, arn string) {
	t.Helper()
	var key metadata
	h.ask(t, &key, "create-key", "--origin", "AWS_CLOUDHSM", "--custom-key-store-id", store)
	return key.KeyMetadata.KeyId, key.KeyMetadata.Arn
}

// breaks waits until a blob cannot be decrypted any more, and gives why.
func (h *hsmServer) breaks(t *testing.T, blob []byte) string {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if refusal := h.decrypt(t, blob); refusal != "" {
			return refusal
		}
	}
	t.Fatal("the blob can still be decrypted")
	return ""
}

// TestCloudHSMStoreLoop has a custom key store in a second token.
func TestCloudHSMStoreLoop(t *testing.T) {
	h := startHSMServer(t, copied(t, softHSM(t)))
	stranger := writeFile(t, "other.pem", newAuthority(t).pem())
	h.refused(t, "(IncorrectTrustAnchorException)", "create-custom-key-store", "--custom-key-store-name", "hsm", "--cloud-hsm-cluster-id", cluster,
		"--trust-anchor-certificate", "file://"+stranger, "--key-store-password", clusterPIN)
	h.refused(t, "(CloudHsmClusterNotFoundException)", "create-custom-key-store", "--custom-key-store-name", "hsm", "--cloud-hsm-cluster-id", "cluster-otherotherot",
		"--trust-anchor-certificate", "file://"+h.anchor, "--key-store-password", clusterPIN)
	store := h.create(t, clusterPIN)
	if s := h.connect(t, store); s.ConnectionState != "CONNECTED" || s.CloudHsmClusterId != cluster {
		t.Fatalf("the store is %+v", s)
	}
	id, arn := h.newKey(t, store)
	other, _ := h.newKey(t, store)
	blob, otherBlob := h.encrypt(t, id), h.encrypt(t, other)
	if refusal := h.decrypt(t, blob); refusal != "" {
		t.Fatal(refusal)
	}
	h.refused(t, "InvalidCiphertextException", "decrypt", "--ciphertext-blob", h.write(t, "b", blob), "--encryption-context", "a=c")
	var random struct{ Plaintext string }
	h.ask(t, &random, "generate-random", "--number-of-bytes", "32", "--custom-key-store-id", store)
	h.refused(t, "(UnsupportedOperationException) when calling the GenerateDataKeyPair operation: "+arn+" origin is AWS_CLOUDHSM which is not valid for this operation.",
		"generate-data-key-pair", "--key-id", id, "--key-pair-spec", "ECC_NIST_P256")
	h.refused(t, "(UnsupportedOperationException)", "enable-key-rotation", "--key-id", id)
	h.refused(t, "(UnsupportedOperationException)", "create-key", "--origin", "AWS_CLOUDHSM", "--custom-key-store-id", store, "--key-spec", "RSA_2048", "--key-usage", "SIGN_VERIFY")

	t.Run("the HSM's own tools see the keys", func(t *testing.T) {
		for _, key := range []string{id, other} {
			listed := h.pkcs11Tool(t, "--list-objects", "--type", "secrkey", "--label", key)
			for _, want := range []string{"AES length 32", "label:      " + key, "ID:         " + strings.ReplaceAll(key, "-", ""), "sensitive", "never extractable", "local"} {
				if !strings.Contains(listed, want) {
					t.Errorf("pkcs11-tool does not say %q of %s:\n%s", want, key, listed)
				}
			}
		}
	})
	t.Run("disconnected", func(t *testing.T) {
		h.disconnect(t, store)
		if state := h.keyState(t, id); state != "Unavailable" {
			t.Errorf("the key is %s", state)
		}
		h.refused(t, "(KMSInvalidStateException) when calling the Encrypt operation: "+arn+" is unavailable.", "encrypt", "--key-id", id, "--plaintext", "x")
		h.refused(t, "(CustomKeyStoreInvalidStateException)", "generate-random", "--number-of-bytes", "32", "--custom-key-store-id", store)
		if s := h.connect(t, store); s.ConnectionState != "CONNECTED" {
			t.Fatalf("the store is %+v", s)
		}
		if refusal := h.decrypt(t, blob); refusal != "" {
			t.Error(refusal)
		}
	})
	t.Run("the token vanishes", func(t *testing.T) {
		dir := h.tokenDir(t)
		away := filepath.Join(t.TempDir(), "token")
		if err := os.Rename(dir, away); err != nil {
			t.Fatal(err)
		}
		if refusal := h.breaks(t, blob); !strings.Contains(refusal, "(KMSInvalidStateException) when calling the Decrypt operation: KMS cannot communicate with your CloudHSM cluster") {
			t.Error(refusal)
		}
		h.ask(t, nil, "generate-random", "--number-of-bytes", "8") // the server goes on
		if s := h.describe(t, store); s.ConnectionState != "CONNECTED" {
			t.Errorf("the store is %s", s.ConnectionState)
		}
		if err := os.Rename(away, dir); err != nil {
			t.Fatal(err)
		}
		h.recovers(t, blob)
	})
	t.Run("an object is deleted", func(t *testing.T) {
		h.pkcs11Tool(t, "--delete-object", "--type", "secrkey", "--label", id)
		if refusal := h.breaks(t, blob); !strings.Contains(refusal, "(KMSInvalidStateException) when calling the Decrypt operation: "+arn+" is unavailable.") {
			t.Error(refusal)
		}
		h.refused(t, "(KMSInvalidStateException) when calling the Encrypt operation: "+arn+" is unavailable.", "encrypt", "--key-id", id, "--plaintext", "x")
		if refusal := h.decrypt(t, otherBlob); refusal != "" {
			t.Errorf("the other key: %s", refusal)
		}
	})
	t.Run("restart", func(t *testing.T) {
		h.server.Kill(t)
		h.server.Restart(t)
		after := keyStores{newCLI(t, h.server), h.server}
		if refusal := after.decrypt(t, otherBlob); refusal != "" {
			t.Error(refusal)
		}
		if refusal := after.decrypt(t, blob); !strings.Contains(refusal, arn+" is unavailable.") {
			t.Error(refusal)
		}
	})
}

// tokenDir is the directory of the cluster's token.
func (h *hsmServer) tokenDir(t testing.TB) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(h.server.Dir, "token", "objects", "*", "token.object"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && strings.Contains(string(text), "cluster ") {
			return filepath.Dir(file)
		}
	}
	t.Fatalf("none of %d tokens is the cluster's", len(files))
	return ""
}

// TestCloudHSMWrongPassword counts how often a token is shown a password, by a library that stands
// in front of SoftHSM2 and writes every call down.
func TestCloudHSMWrongPassword(t *testing.T) {
	calls := filepath.Join(t.TempDir(), "calls")
	t.Setenv("PKCS11SPY", copied(t, softHSM(t)))
	t.Setenv("PKCS11SPY_OUTPUT", calls)
	h := startHSMServer(t, copied(t, firstOf(t, "pkcs11-spy.so of OpenSC", spyModules)))
	logins := func() int {
		t.Helper()
		text, err := os.ReadFile(calls)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(text), ": C_Login\n")
	}
	store := h.create(t, "not the PIN")
	refused := func(s storeEntry) {
		t.Helper()
		if s.ConnectionState != "FAILED" || s.ConnectionErrorCode != "INVALID_CREDENTIALS" {
			t.Errorf("the store is %s %s", s.ConnectionState, s.ConnectionErrorCode)
		}
	}
	refused(h.connect(t, store))
	h.refused(t, "(CustomKeyStoreInvalidStateException)", "connect-custom-key-store", "--custom-key-store-id", store)
	h.disconnect(t, store)
	refused(h.connect(t, store))
	h.server.Kill(t)
	h.server.Restart(t)
	h.keyStores = keyStores{newCLI(t, h.server), h.server}
	h.disconnect(t, store)
	refused(h.connect(t, store))
	if n := logins(); n != 1 {
		t.Errorf("C_Login was called %d times with a wrong PIN, not once", n)
	}
	h.disconnect(t, store)
	h.ask(t, nil, "update-custom-key-store", "--custom-key-store-id", store, "--key-store-password", clusterPIN)
	if s := h.connect(t, store); s.ConnectionState != "CONNECTED" {
		t.Fatalf("the store is %+v", s)
	}
	id, _ := h.newKey(t, store)
	blob := h.encrypt(t, id)
	if refusal := h.decrypt(t, blob); refusal != "" {
		t.Error(refusal)
	}
	if n := logins(); n != 2 {
		t.Errorf("C_Login was called %d times, not once for each password", n)
	}

	// The PIN changes behind the store's back: the next login fails, once.
	h.disconnect(t, store)
	h.tool(t, "pkcs11-tool", "--module", softHSM(t), "--token-label", "cluster", "--login", "--pin", clusterPIN, "--change-pin", "--new-pin", clusterPIN+"1")
	refused(h.connect(t, store))
	h.disconnect(t, store)
	refused(h.connect(t, store))
	if n := logins(); n != 3 {
		t.Errorf("C_Login was called %d times, not once with the PIN of before", n)
	}
	h.disconnect(t, store)
	h.ask(t, nil, "update-custom-key-store", "--custom-key-store-id", store, "--key-store-password", clusterPIN+"1")
	if s := h.connect(t, store); s.ConnectionState != "CONNECTED" {
		t.Fatalf("the store is %+v", s)
	}
	if refusal := h.decrypt(t, blob); refusal != "" {
		t.Error(refusal)
	}
}
