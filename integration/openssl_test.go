package integration_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// openssl runs the openssl command in a folder of its own, with files by name, on an input, and gives
// its output. OpenSSL knows nothing of the server: it makes and wraps keys, and judges what comes back.
func openssl(t testing.TB, input []byte, files map[string][]byte, args ...string) []byte {
	t.Helper()
	out, err := tryOpenSSL(t, input, files, args...)
	if err != nil {
		t.Fatalf("openssl %s: %v (`make deps` installs OpenSSL)", args[0], err)
	}
	return out
}

func tryOpenSSL(t testing.TB, input []byte, files map[string][]byte, args ...string) ([]byte, error) {
	t.Helper()
	cmd := exec.Command("openssl", args...)
	cmd.Dir = t.TempDir()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(cmd.Dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd.Stdin = bytes.NewReader(input)
	return cmd.Output()
}

// opensslKey makes a private key with OpenSSL, as PKCS #8, and its public key, both DER.
func opensslKey(t testing.TB, options ...string) (private, public []byte) {
	t.Helper()
	pem := openssl(t, nil, nil, append([]string{"genpkey"}, options...)...)
	private = openssl(t, pem, nil, "pkcs8", "-topk8", "-nocrypt", "-outform", "DER")
	return private, openssl(t, pem, nil, "pkey", "-pubout", "-outform", "DER")
}

// opensslWrap wraps key material for GetParametersForImport's public key by an algorithm of that name.
func opensslWrap(t testing.TB, public []byte, algorithm string, material []byte) []byte {
	t.Helper()
	digest := "sha1"
	if strings.HasSuffix(algorithm, "SHA_256") {
		digest = "sha256"
	}
	oaep := func(plaintext []byte) []byte {
		return openssl(t, plaintext, map[string][]byte{"wrapping.der": public}, "pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", "wrapping.der",
			"-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:"+digest, "-pkeyopt", "rsa_mgf1_md:"+digest)
	}
	if strings.HasPrefix(algorithm, "RSAES_OAEP") {
		return oaep(material)
	}
	key := openssl(t, nil, nil, "rand", "32")
	// RFC 5649, with its own constant for the IV.
	wrapped := openssl(t, material, nil, "enc", "-id-aes256-wrap-pad", "-iv", "A65959A6", "-K", hex.EncodeToString(key))
	return append(oaep(key), wrapped...)
}

// opensslVerifies says whether a signature is one of a message.
func opensslVerifies(t testing.TB, public []byte, digest string, message, signature []byte, options ...string) bool {
	t.Helper()
	args := []string{"pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "key.der", "-rawin", "-in", "message", "-sigfile", "signature"}
	if digest != "" {
		args = append(args, "-digest", digest)
	}
	_, err := tryOpenSSL(t, nil, map[string][]byte{"key.der": public, "message": message, "signature": signature}, append(args, options...)...)
	return err == nil
}
