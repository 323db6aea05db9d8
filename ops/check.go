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
	return kms.CheckState(operation, kms.StateFacts{ARN: k.arn, State: k.State, Origin: k.Origin})
}

// checkAlgorithm refuses an algorithm that does not fit the key; none means SYMMETRIC_DEFAULT.
func checkAlgorithm(k key, algorithm kms.EncryptionAlgorithmSpec) error {
	if algorithm == "" {
		algorithm = kms.EncryptionAlgorithmSpecSymmetricDefault
	}
	spec, ok := kms.SpecOf(k.Spec)
	if !ok {
		return kms.KMSInternalException.Err()
	}
	return spec.CheckAlgorithm(k.Usage, string(algorithm))
}

// checkGrantTokens refuses tokens of grants that do not exist.
func checkGrantTokens(tokens []string) error {
	if len(tokens) > 0 {
		return kms.Errorf(kms.InvalidGrantTokenException, "The grant token is not valid.")
	}
	return nil
}

// checkRecipient refuses attested recipients, which this version cannot verify.
func checkRecipient(recipient *kms.RecipientInfo) error {
	if recipient != nil {
		return kms.Errorf(kms.UnsupportedOperationException, "Recipient is not supported by this version of kms11.")
	}
	return nil
}
