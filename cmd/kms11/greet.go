package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/kms11/kms11/ops"
)

// greet prints how to use the server that has just started.
func greet(to io.Writer, c Config, p paths, endpoint string, created bool, key ops.AccessKey) error {
	credentials := "  . " + shellQuote(relative(p.adminEnv)) + "\n"
	if c.Dev {
		credentials = fmt.Sprintf("  export AWS_ACCESS_KEY_ID=%s AWS_SECRET_ACCESS_KEY=unchecked AWS_REGION=%s AWS_DEFAULT_REGION=%s AWS_ENDPOINT_URL_KMS=%s AWS_ENDPOINT_URL_STS=%s\n",
			c.Account, c.Region, c.Region, endpoint, endpoint)
	}
	if _, err := os.Stat(p.adminEnv); !c.Dev && os.IsNotExist(err) {
		credentials = fmt.Sprintf("  . admin.env    # from where it was moved to; AWS_ENDPOINT_URL_KMS and AWS_ENDPOINT_URL_STS are now %s\n", endpoint)
	}
	made := "its keys are in the token it made before"
	if created {
		made = "it has made itself a token, a keystore and an administrator"
	}
	if len(c.Tokens) > 0 {
		made = "its keys are in the configured token"
	}
	_, err := fmt.Fprintf(to, `kms11 serves the AWS KMS API on %s (account %s, Region %s); %s.
%sTry it in another shell:

%s  KEY=$(aws kms create-key --query KeyMetadata.KeyId --output text)
  echo 'hello token' > hello.txt
  aws kms encrypt --key-id "$KEY" --plaintext fileb://hello.txt --query CiphertextBlob --output text | base64 -d > hello.enc
  aws kms decrypt --ciphertext-blob fileb://hello.enc --query Plaintext --output text | base64 -d
  aws kms generate-data-key --key-id "$KEY" --key-spec AES_256

Stop with Ctrl-C. The next start uses the same keys.
`, endpoint, c.Account, c.Region, made, shownOnce(to, key), credentials)
	return err
}

// shownOnce shows a new access key to a person at a terminal. Output that goes elsewhere may be
// kept, as a log or by a supervisor, and does not get the secret.
func shownOnce(to io.Writer, key ops.AccessKey) string {
	file, ok := to.(*os.File)
	if !ok || key.ID == "" {
		return ""
	}
	if info, err := file.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return ""
	}
	return fmt.Sprintf("The administrator's access key, kept in admin.env and not shown again: %s, secret %s\n", key.ID, key.Secret)
}

// relative shortens a path for reading, where that helps.
func relative(path string) string {
	working, err := os.Getwd()
	if err != nil {
		return path
	}
	if short, err := filepath.Rel(working, path); err == nil && len(short) < len(path) {
		return short
	}
	return path
}
