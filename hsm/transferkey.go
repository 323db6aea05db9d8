package hsm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kms11/kms11/kms"
)

// The transfer key of a domain is a pair on the curve P-384, as AWS KMS has them for the same purpose.
// It signs offers and consignments. Its private half is wrapped under the domain key and stands in the
// domain's description, so every token of the domain can sign with it.
const (
	transferSpec      = kms.KeySpecEccNistP384
	transferAlgorithm = kms.SigningAlgorithmSpecEcdsaSha384
)

// MakeTransferKey makes the transfer key of a domain that has none; Describe has it from then on. The
// error matches ErrUnsupported if a token of the domain does not wrap such keys: material can then
// neither leave the domain nor come to it.
func (d *Domain) MakeTransferKey(ctx context.Context) error {
	if d.transfer.Load() != nil {
		return nil
	}
	m, err := d.newTransferKey(ctx)
	if err == nil {
		d.transfer.CompareAndSwap(nil, m)
	}
	return err
}

func (d *Domain) newTransferKey(ctx context.Context) (*kms.Material, error) {
	k, err := pairOf(transferSpec)
	if err != nil {
		return nil, err
	}
	if d.keeps(transferSpec) {
		return nil, fmt.Errorf("%w: wrapping of private keys of spec %s", ErrUnsupported, transferSpec)
	}
	m, err := d.makePair(ctx, k, KeyRequest{Spec: transferSpec, Usage: kms.KeyUsageTypeSignVerify}, k.generated)
	if err != nil {
		return nil, err
	}
	m.Ordinal, m.Created = 1, time.Now().UTC()
	return &m, nil
}

var errNoTransferKey = errors.New("the domain has no transfer key")

func (d *Domain) signTransfer(ctx context.Context, message []byte) ([]byte, error) {
	m := d.transfer.Load()
	if m == nil {
		return nil, errNoTransferKey
	}
	return d.Sign(ctx, m, transferSpec, transferAlgorithm, SignInput{Message: message})
}

// verifyTransfer verifies what another domain signed. The signature is public, and so is the key.
func verifyTransfer(signer kms.Domain, message, signature []byte) error {
	if signer.Transfer == nil {
		return errNoTransferKey
	}
	k, g, data, err := signed(signer.Transfer.PublicKey, transferSpec, transferAlgorithm, SignInput{Message: message})
	if err != nil {
		return err
	}
	good, _, err := g.outside(k.pair, signer.Transfer.PublicKey, data, signature)
	if err != nil {
		return err
	}
	if !good {
		return fmt.Errorf("%w: the signature of domain %s is wrong", errTransfer, signer.ID)
	}
	return nil
}
