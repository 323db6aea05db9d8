// Package tokens_test runs the built server on the token that the environment names, through AWS's
// Go SDK: what `make test-tokens` does besides the suites of packages hsm and ops.
//
//	KMS11_TOKEN        PKCS #11 URI of an empty token
//	KMS11_TOKEN_LACKS  key specs that the token does not have, separated by spaces
package tokens_test

import (
	"testing"

	"github.com/kms11/kms11/integration/kms11test"
)

func TestMain(m *testing.M) { kms11test.Main(m) }
