package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/ops"
	"github.com/kms11/kms11/sigv4"
)

// The services' names in a credential scope.
const (
	kmsScope = "kms"
	stsScope = "sts"
)

// SigV4 authenticates requests by their AWS Signature Version 4.
type SigV4 struct {
	service  *ops.Service
	verifier *sigv4.Verifier
}

// NewSigV4 verifies signatures of requests to KMS against the service's access keys and temporary
// credentials, for the Regions that it serves. The Region of a signature's scope is the one that the
// request is for.
func NewSigV4(service *ops.Service) *SigV4 { return newSigV4(service, kmsScope, service.Serves) }

// NewSTSSigV4 is NewSigV4 for requests to STS, which may also be signed for the Region that stands for
// STS's global endpoint.
func NewSTSSigV4(service *ops.Service) *SigV4 {
	return newSigV4(service, stsScope, func(region string) bool { return region == globalSTSRegion || service.Serves(region) })
}

// globalSTSRegion is the Region that requests to STS's global endpoint are signed for (IAM User Guide,
// "Manage AWS STS in an AWS Region").
const globalSTSRegion = "us-east-1"

func newSigV4(service *ops.Service, scope string, regionOK func(string) bool) *SigV4 {
	return &SigV4{service: service, verifier: sigv4.NewVerifier(sigv4.Config{
		Service:  scope,
		RegionOK: regionOK,
		Now:      service.Now,
		Lookup: func(ctx context.Context, accessKeyID string) (sigv4.Credential, error) {
			secret, caller, err := service.Credential(ctx, accessKeyID)
			if errors.Is(err, ops.ErrUnknownAccessKey) {
				return sigv4.Credential{}, sigv4.ErrUnknownKey
			}
			return sigv4.Credential{Secret: secret, Value: caller}, err
		},
		Session: func(r *http.Request, accessKeyID, token string) (sigv4.Credential, error) {
			secret, expires, caller, err := service.SessionCredential(r.Context(), addressOf(r), accessKeyID, token)
			if errors.Is(err, ops.ErrBadSessionToken) {
				return sigv4.Credential{}, sigv4.ErrUnknownKey
			}
			return sigv4.Credential{Secret: secret, Expires: expires, Value: caller}, err
		},
	})}
}

// refusals are AWS's codes for what sigv4 refuses.
func refusals() map[sigv4.Kind]kms.ErrorCode {
	return map[sigv4.Kind]kms.ErrorCode{
		sigv4.MissingAuthenticationToken: kms.MissingAuthenticationTokenException,
		sigv4.IncompleteSignature:        kms.IncompleteSignatureException,
		sigv4.InvalidSignature:           kms.InvalidSignatureException,
		sigv4.UnrecognizedClient:         kms.UnrecognizedClientException,
		sigv4.ExpiredToken:               kms.ExpiredTokenException,
	}
}

// refused is an error of the verifier as AWS tells it.
func refused(err error) error {
	var refusal *sigv4.Error
	if errors.As(err, &refusal) {
		return &kms.Error{Code: refusals()[refusal.Kind], Message: refusal.Message}
	}
	return err
}

// Screen implements Authenticator.
func (a *SigV4) Screen(r *http.Request) error {
	if err := a.verifier.Screen(r); err != nil {
		return refused(err)
	}
	return nil
}

// Authenticate implements Authenticator.
func (a *SigV4) Authenticate(r *http.Request, body []byte, call *ops.Call) error {
	result, err := a.verifier.Verify(r, body)
	if err != nil {
		return refused(err)
	}
	caller := result.Credential.Value.(*ops.Caller)
	if caller.Principal.Service != "" {
		return a.serviceCall(r, call, ops.Call{Region: result.Region, Caller: caller})
	}
	call.Region, call.Caller = result.Region, caller
	return nil
}

// serviceCall makes a service's request, sent as it says, one of whom it is for.
func (a *SigV4) serviceCall(r *http.Request, call *ops.Call, sent ops.Call) error {
	claim, err := claimed(r)
	if err != nil {
		return err
	}
	if err := a.service.ServiceCall(r.Context(), &sent, claim); err != nil {
		return err
	}
	call.Region, call.Caller, call.Via = sent.Region, sent.Caller, sent.Via
	return nil
}
