package tokens_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/kms11/kms11/integration/kms11test"
)

// TestAWSCLI goes from a new key to a decrypted text, a data key and a verified signature by the AWS
// CLI, as a person would in a shell.
func TestAWSCLI(t *testing.T) {
	interpreter := kms11test.Python(t, "../clients")
	server := start(t)
	script := "set -eu\naws() { " + interpreter + ` -m awscli "$@"; }
		key=$(aws kms create-key --query KeyMetadata.KeyId --output text)
		printf 'hello token' >hello.txt
		aws kms encrypt --key-id "$key" --plaintext fileb://hello.txt --encryption-context by=cli --query CiphertextBlob --output text | base64 -d >hello.enc
		aws kms decrypt --ciphertext-blob fileb://hello.enc --encryption-context by=cli --query Plaintext --output text | base64 -d >hello.dec
		cmp hello.txt hello.dec && echo "decrypted"
		aws kms decrypt --ciphertext-blob fileb://hello.enc --encryption-context by=another 2>&1 | grep -o InvalidCiphertextException
		aws kms generate-data-key --key-id "$key" --key-spec AES_256 --query CiphertextBlob --output text | base64 -d >data.enc
		aws kms decrypt --ciphertext-blob fileb://data.enc --query Plaintext --output text | base64 -d | wc -c
		pair=$(aws kms create-key --key-spec RSA_2048 --key-usage SIGN_VERIFY --query KeyMetadata.KeyId --output text)
		aws kms sign --key-id "$pair" --message fileb://hello.txt --signing-algorithm RSASSA_PSS_SHA_256 --query Signature --output text | base64 -d >signature
		aws kms verify --key-id "$pair" --message fileb://hello.txt --signing-algorithm RSASSA_PSS_SHA_256 --signature fileb://signature --query SignatureValid`
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Dir = t.TempDir()
	cmd.Env = server.Env(t)
	out, err := cmd.CombinedOutput()
	if got := strings.Join(strings.Fields(string(out)), " "); err != nil || !strings.EqualFold(got, "decrypted InvalidCiphertextException 32 true") {
		t.Errorf("%v\n%s", err, out)
	}
}
