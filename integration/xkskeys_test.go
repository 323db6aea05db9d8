package integration_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

// TestXKSKeyStates follows a KMS key of the server through its states, seen as an external key.
func TestXKSKeyStates(t *testing.T) {
	p := startXKS(t)
	client := p.Client(t)
	id := must(client.CreateKey(t.Context(), &kms.CreateKeyInput{}))(t).KeyMetadata.KeyId
	p.admin(t, "key", "create", "--prefix", xksPrefix, "--id", "k", "--key", aws.ToString(id))
	sealed := p.ok(t, "/keys/k/encrypt", encryptBody([]byte("Hello World!"), nil))
	body := fields{"requestMetadata": xksMetadata("DescribeKey")}
	enabled := func(what string) {
		t.Helper()
		if got := p.ok(t, "/keys/k/metadata", body); got["keyStatus"] != "ENABLED" {
			t.Errorf("%s: %v", what, got)
		}
		p.ok(t, "/keys/k/decrypt", decryptBody(sealed, nil))
		p.ok(t, "/keys/k/encrypt", encryptBody([]byte("x"), nil))
	}
	disabled := func(what string) {
		t.Helper()
		if got := p.ok(t, "/keys/k/metadata", body); got["keyStatus"] != "DISABLED" {
			t.Errorf("%s: %v", what, got)
		}
		p.call(t, "/keys/k/decrypt", decryptBody(sealed, nil)).refused(t, what, "InvalidStateException")
		p.call(t, "/keys/k/encrypt", encryptBody([]byte("x"), nil)).refused(t, what, "InvalidStateException")
	}
	enabled("a new key")
	must(client.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: id}))(t)
	disabled("DisableKey")
	must(client.EnableKey(t.Context(), &kms.EnableKeyInput{KeyId: id}))(t)
	enabled("EnableKey")
	p.admin(t, "key", "disable", "--id", "k")
	disabled("kms11 xks key disable")
	p.admin(t, "key", "enable", "--id", "k")
	enabled("kms11 xks key enable")
	must(client.RotateKeyOnDemand(t.Context(), &kms.RotateKeyOnDemandInput{KeyId: id}))(t)
	enabled("a rotation")
	must(client.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: aws.Int32(7)}))(t)
	disabled("ScheduleKeyDeletion")
	must(client.CancelKeyDeletion(t.Context(), &kms.CancelKeyDeletionInput{KeyId: id}))(t)
	must(client.EnableKey(t.Context(), &kms.EnableKeyInput{KeyId: id}))(t)
	enabled("CancelKeyDeletion")

	used := must(client.GetKeyLastUsage(t.Context(), &kms.GetKeyLastUsageInput{KeyId: id}))(t).KeyLastUsage
	if used == nil || aws.ToString(used.KmsRequestId) != xksMetadata("")["kmsRequestId"] {
		t.Errorf("the last use through the proxy is not the key's: %+v", used)
	}
	p.Stop(t)
	p.Restart(t)
	enabled("a restart")
	p.admin(t, "key", "delete", "--id", "k")
	p.call(t, "/keys/k/metadata", body).refused(t, "a deleted external key", "KeyNotFoundException")
}

// TestXKSAndKMSKeepApart holds that what one of the two APIs encrypts under a key is nothing to the
// other, though both use the same message keys.
func TestXKSAndKMSKeepApart(t *testing.T) {
	p := startXKS(t)
	client := p.Client(t)
	id := must(client.CreateKey(t.Context(), &kms.CreateKeyInput{}))(t).KeyMetadata.KeyId
	p.admin(t, "key", "create", "--prefix", xksPrefix, "--id", "k", "--key", aws.ToString(id))
	blob := must(client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: id, Plaintext: []byte("Hello World!")}))(t).CiphertextBlob
	// The parts of a blob are in docs/formats.md: header of 22 bytes, nonce, IV, ciphertext and tag.
	const header, nonce, iv, tag = 22, 15, 12, 16
	rest := blob[header:]
	asXKS := fields{
		"ciphertextMetadata":   b64(append(bytes.Clone(blob[18:22]), rest[:nonce]...)),
		"initializationVector": b64(rest[nonce : nonce+iv]),
		"ciphertext":           b64(rest[nonce+iv : len(rest)-tag]),
		"authenticationTag":    b64(rest[len(rest)-tag:]),
	}
	for _, aad := range [][]byte{nil, blob[:header]} {
		p.call(t, "/keys/k/decrypt", decryptBody(asXKS, aad)).refused(t, "a ciphertext of KMS", "InvalidCiphertextException")
	}

	// And back, with the AAD that comes nearest to a blob's header.
	plain, err := hex.DecodeString(strings.ReplaceAll(aws.ToString(id), "-", ""))
	if err != nil {
		t.Fatal(err)
	}
	aad := append(append(bytes.Clone(plain), 0, 0, 0, 1), make([]byte, 0x0102-20)...)
	sealed := p.ok(t, "/keys/k/encrypt", encryptBody([]byte("Hello World!"), aad))
	metadata := metadataOf(t, sealed)
	forged := append(bytes.Clone(blob[:18]), metadata...)
	for _, name := range []string{"initializationVector", "ciphertext", "authenticationTag"} {
		forged = append(forged, decoded(t, sealed, name)...)
	}
	_, err = client.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: forged})
	wantCode(t, err, "InvalidCiphertextException", "")
}

// TestXKSKeyObject sees an object of the token as an external key: with what the token says of it, and
// when its owner destroys it.
func TestXKSKeyObject(t *testing.T) {
	p := startXKS(t)
	p.importKey(t, "brought")
	p.admin(t, "key", "create", "--prefix", xksPrefix, "--id", "made", "--object", "pkcs11:token=kms11;object=made", "--generate")
	var facts []struct {
		ID       string
		Enabled  bool
		Problem  string
		Warnings []string
	}
	list := func() {
		t.Helper()
		if err := json.Unmarshal([]byte(p.admin(t, "key", "list", "--prefix", xksPrefix)), &facts); err != nil {
			t.Fatal(err)
		}
	}
	if list(); len(facts) != 2 || facts[0].ID != "brought" || !facts[0].Enabled || len(facts[0].Warnings) == 0 || !facts[1].Enabled || len(facts[1].Warnings) != 0 {
		t.Errorf("a key that came from elsewhere has warnings, one that was made here has none: %+v", facts)
	}
	for what, args := range map[string][]string{
		"no such object":     {"--object", "pkcs11:token=kms11;object=nobody"},
		"no such token":      {"--object", "pkcs11:token=nowhere;object=made"},
		"no name":            {"--object", "pkcs11:token=kms11"},
		"no URI":             {"--object", "made"},
		"a key that is here": {"--object", "pkcs11:token=kms11;object=made", "--generate"},
		"no KMS key":         {"--key", "1234abcd-12ab-34cd-56ef-1234567890ab"},
		"an alias":           {"--key", "alias/a"},
		"neither":            {},
		"both":               {"--key", "1234abcd-12ab-34cd-56ef-1234567890ab", "--object", "pkcs11:token=kms11;object=made"},
	} {
		if output, code := p.tryAdmin(t, append([]string{"key", "create", "--prefix", xksPrefix, "--id", "x"}, args...)...); code == 0 {
			t.Errorf("%s: an external key was made: %s", what, output)
		}
	}
	p.ok(t, "/keys/made/encrypt", encryptBody([]byte("x"), nil))
	p.token(t, "pkcs11-tool", "--module", softHSMModule(t), "--login", "--delete-object", "--type", "secrkey", "--label", "made")
	// The handle is looked at every few seconds; until then the key still encrypts.
	wait(t, "the destroyed key is noticed", func() bool {
		return p.call(t, "/keys/made/encrypt", encryptBody([]byte("x"), nil)).status == http.StatusNotFound
	})
	p.call(t, "/keys/made/metadata", fields{"requestMetadata": xksMetadata("DescribeKey")}).refused(t, "a destroyed key", "KeyNotFoundException")
	if list(); facts[1].Enabled || facts[1].Problem == "" {
		t.Errorf("got %+v", facts)
	}
	p.ok(t, "/keys/brought/encrypt", encryptBody([]byte("x"), nil))
}

// TestXKSOnlySymmetricKeys: no other KMS key can be an external key.
func TestXKSOnlySymmetricKeys(t *testing.T) {
	p := startXKS(t)
	for _, spec := range []types.KeySpec{types.KeySpecHmac256, types.KeySpecEccNistP256} {
		usage := types.KeyUsageTypeSignVerify
		if spec == types.KeySpecHmac256 {
			usage = types.KeyUsageTypeGenerateVerifyMac
		}
		id := must(p.Client(t).CreateKey(t.Context(), &kms.CreateKeyInput{KeySpec: spec, KeyUsage: usage}))(t).KeyMetadata.KeyId
		if output, code := p.tryAdmin(t, "key", "create", "--prefix", xksPrefix, "--id", "x", "--key", aws.ToString(id)); code == 0 {
			t.Errorf("%s: %s", spec, output)
		}
	}
}

// TestXKSTokenVanishes takes the token's directory away: the proxy says that it is not well, and
// serves again when the token is back.
func TestXKSTokenVanishes(t *testing.T) {
	p := startXKS(t)
	p.importKey(t, "k")
	sealed := p.ok(t, "/keys/k/encrypt", encryptBody([]byte("Hello World!"), nil))
	objects := filepath.Join(p.Dir, "token", "objects")
	if err := os.Rename(objects, objects+".away"); err != nil {
		t.Fatal(err)
	}
	health := fields{"requestMetadata": fields{"kmsRequestId": "r", "kmsOperation": "KmsHealthCheck"}}
	wait(t, "the health check notices", func() bool { return p.call(t, "/health", health).status != http.StatusOK })
	p.call(t, "/health", health).refused(t, "health", "InternalException")
	p.call(t, "/keys/k/decrypt", decryptBody(sealed, nil)).refused(t, "decrypt", "InternalException")
	response, err := p.client.Get(p.endpoint + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("the load balancer's GET: %s", response.Status)
	}
	if err := os.Rename(objects+".away", objects); err != nil {
		t.Fatal(err)
	}
	wait(t, "the token is back", func() bool { return p.call(t, "/health", health).status == http.StatusOK })
	if got := p.ok(t, "/keys/k/decrypt", decryptBody(sealed, nil)); string(decoded(t, got, "plaintext")) != "Hello World!" {
		t.Error("another plaintext")
	}
}

// TestXKSOtherToken has keys in a token that is not the domain's: it is named in the settings, counts in
// the fleet, and its loss is not the other's.
func TestXKSOtherToken(t *testing.T) {
	p := startXKS(t)
	p.Stop(t)
	conf := filepath.Join(p.Dir, "token", "softhsm2.conf")
	pin := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(pin, []byte("87654321\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("softhsm2-util", "--init-token", "--free", "--label", "customer", "--pin", "87654321", "--so-pin", "87654321")
	cmd.Env = append(kms11test.ServerEnv(t), "SOFTHSM2_CONF="+conf)
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("softhsm2-util (`make deps` installs it): %v\n%s", err, output)
	}
	listen := kms11test.FreeAddress(t)
	config := filepath.Join(t.TempDir(), "kms11.yaml")
	text := "xks:\n  timeout: 60000\n  listen: " + listen + "\n  tokens: ['pkcs11:token=customer?module-path=" + softHSMModule(t) + "&pin-source=file:" + pin + "']\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p.Server, p.endpoint = kms11test.StartIn(t, p.Dir, "--config", config), "http://"+listen
	p.admin(t, "key", "create", "--prefix", xksPrefix, "--id", "theirs", "--object", "pkcs11:token=customer;object=theirs", "--generate")
	p.admin(t, "key", "create", "--prefix", xksPrefix, "--id", "ours", "--object", "pkcs11:token=kms11;object=ours", "--generate")
	for _, id := range []string{"theirs", "ours"} {
		sealed := p.ok(t, "/keys/"+id+"/encrypt", encryptBody([]byte("Hello World!"), nil))
		p.ok(t, "/keys/"+id+"/decrypt", decryptBody(sealed, nil))
	}
	health := p.ok(t, "/health", fields{"requestMetadata": fields{"kmsRequestId": "r", "kmsOperation": "KmsHealthCheck"}})
	if fleet := health["ekmFleetDetails"].([]any); len(fleet) != 2 || fleet[0].(fields)["id"] == fleet[1].(fields)["id"] {
		t.Errorf("the fleet: %v", fleet)
	}
}
