package ops

import (
	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/policy"
)

// maxPolicy is the largest key policy in bytes (AWS KMS resource quotas).
const maxPolicy = 32_768

// checkPolicy refuses a key policy that is too large or not well-formed.
func checkPolicy(text string) error {
	if len(text) > maxPolicy {
		return kms.Errorf(kms.LimitExceededException, "The key policy is larger than %d bytes.", maxPolicy)
	}
	if _, err := policy.Parse([]byte(text)); err != nil {
		return kms.Errorf(kms.MalformedPolicyDocumentException, "Syntax errors in policy.").Because(err)
	}
	return nil
}
