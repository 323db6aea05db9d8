package integration_test

import (
	"crypto/ed25519"
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

// runOnToken runs a PKCS#11 tool on the token that a server made, as a process of its own.
func runOnToken(t testing.TB, server *kms11test.Server, name string, args ...string) {
	t.Helper()
	pin, err := os.ReadFile(filepath.Join(server.Dir, "token", "user.pin"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, append(args, "--token", "kms11", "--pin", strings.TrimSpace(string(pin)))...)
	cmd.Env = append(kms11test.ServerEnv(t), "SOFTHSM2_CONF="+filepath.Join(server.Dir, "token", "softhsm2.conf"))
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s (`make deps` installs it): %v\n%s", name, err, output)
	}
}

// TestResidentKeyDeletedByATool deletes the token's object of a key behind the server's back. The server
// signs with a copy of it, and has to miss it all the same.
func TestResidentKeyDeletedByATool(t *testing.T) {
	server := kms11test.Start(t)
	client := server.Client(t)
	message := []byte("message")
	sign := func(id *string) error {
		public, ok := publicKey(t, client, id).(ed25519.PublicKey)
		out, err := client.Sign(t.Context(), &kms.SignInput{KeyId: id, Message: message, SigningAlgorithm: types.SigningAlgorithmSpecEd25519Sha512})
		if err == nil && !(ok && ed25519.Verify(public, message, out.Signature)) {
			t.Error("the standard library refuses the signature")
		}
		return err
	}
	gone, other := newKey(t, client, types.KeySpecEccNistEdwards25519, types.KeyUsageTypeSignVerify).KeyId,
		newKey(t, client, types.KeySpecEccNistEdwards25519, types.KeyUsageTypeSignVerify).KeyId
	for _, id := range []*string{gone, other} {
		if err := sign(id); err != nil {
			t.Fatal(err)
		}
	}
	runOnToken(t, server, "pkcs11-tool", "--module", softHSMModule(t), "--login", "--delete-object", "--type", "privkey", "--label", aws.ToString(gone))
	var err error
	wait(t, "the deleted key is missed", func() bool {
		err = sign(gone)
		return err != nil
	})
	wantCode(t, err, "KMSInternalException", "")
	if err := sign(other); err != nil {
		t.Error(err)
	}
}
