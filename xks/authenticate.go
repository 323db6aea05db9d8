package xks

import (
	"context"
	"errors"

	"github.com/kms11/kms11/ops"
	"github.com/kms11/kms11/sigv4"
)

// credential is the sigv4.Lookup of a Handler. The value of what it gives is the prefix that the
// access key is for.
func (h *Handler) credential(ctx context.Context, accessKeyID string) (sigv4.Credential, error) {
	if !ValidAccessKeyID(accessKeyID) {
		return sigv4.Credential{}, sigv4.ErrUnknownKey
	}
	secret, prefix, err := h.proxy.Credential(ctx, accessKeyID)
	if errors.Is(err, ops.ErrUnknownAccessKey) && h.files != nil {
		var found bool
		if secret, prefix, found = h.files.find(accessKeyID); found {
			err = nil
		}
	}
	if errors.Is(err, ops.ErrUnknownAccessKey) {
		return sigv4.Credential{}, sigv4.ErrUnknownKey
	}
	return sigv4.Credential{Secret: secret, Value: prefix}, err
}

// refused is an error of the verifier as the specification tells it.
func refused(err error) error {
	var refusal *sigv4.Error
	if errors.As(err, &refusal) {
		return failure(AuthenticationFailedException, printable(refusal.Message))
	}
	return err
}

// screen refuses what authenticate would refuse whatever the body is, before one that is long is read.
func (e *exchange) screen() error {
	if err := e.handler.verifier.Screen(e.r); err != nil {
		return refused(err)
	}
	return nil
}

// authenticate verifies the signature, and that it is by an access key of the tenant. Why it is
// refused goes to the client: the texts of package sigv4 are meant for that.
func (e *exchange) authenticate(body []byte) error {
	signer, err := e.handler.verifier.Verify(e.r, body)
	if err != nil {
		return refused(err)
	}
	e.signer = signer
	if signer.Credential.Value.(string) != e.target.prefix {
		return failure(AuthenticationFailedException, "The access key is not one of this URI path.")
	}
	e.admitted = true
	return nil
}
