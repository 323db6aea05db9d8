package ops

import (
	"github.com/kms11/kms11/kms"
)

// errDryRun is the success of a dry run.
func errDryRun() error {
	return kms.Errorf(kms.DryRunOperationException, "The request would have succeeded, but the DryRun option is set.")
}

// checkState refuses an operation that the key's state forbids.
func checkState(k key, operation string) error {
	return kms.CheckState(operation, kms.StateFacts{ARN: k.arn, State: k.state(), Origin: k.Origin})
}
