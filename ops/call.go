package ops

import (
	"github.com/kms11/kms11/policy"
)

// Call is one authenticated request on its way through an operation.
type Call struct {
	RequestID string
	Operation string // set by the table of operations
	Region    string // the Region of the request's signature
	Caller    *Caller
}

// Caller is who sent a request. It is shared between requests and never changed.
type Caller struct {
	Principal policy.Principal
	Policies  []*policy.Document // the identity policies
}

// RootCaller is the root user of an account.
func RootCaller(partition, account string) *Caller {
	return &Caller{Principal: policy.Principal{ARN: "arn:" + partition + ":iam::" + account + ":root", Account: account}}
}
