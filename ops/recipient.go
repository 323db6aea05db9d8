package ops

import (
	"github.com/kms11/kms11/attest"
	"github.com/kms11/kms11/kms"
)

// recipient is an enclave that has proved itself and for which an answer is encrypted. A nil
// recipient is a request without one: it takes the answer in clear.
type recipient struct {
	document *attest.Document
}

// attested verifies the Recipient of a request, once for a call: a policy may have asked for it
// before. Without configured roots nothing can be verified and the request is refused.
func (s *Service) attested(call *Call, in *kms.RecipientInfo) (*recipient, error) {
	if in == nil {
		return nil, nil
	}
	if seen := &call.asked.attestation; !seen.done {
		seen.recipient, seen.err = s.attest(in)
		seen.done = true
	}
	return call.asked.attestation.recipient, call.asked.attestation.err
}

func (s *Service) attest(in *kms.RecipientInfo) (*recipient, error) {
	if s.attestation == nil {
		return nil, kms.Errorf(kms.UnsupportedOperationException, "Recipient is not supported: no root of attestation is configured.")
	}
	document, err := s.attestation.Verify(in.AttestationDocument)
	if err != nil {
		return nil, kms.Errorf(kms.ValidationException, "The attestation document in the request is not valid.").Because(err)
	}
	return &recipient{document}, nil
}

// deliver splits what an operation hands out into the two members of its answer: in clear for a
// request without a recipient, else encrypted for the recipient, the clear text wiped.
func (r *recipient) deliver(plaintext []byte) (clearText, forRecipient []byte, err error) {
	if r == nil {
		return plaintext, nil, nil
	}
	defer clear(plaintext)
	forRecipient, err = attest.EnvelopedData(r.document.PublicKey, plaintext)
	return nil, forRecipient, err
}
