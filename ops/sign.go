package ops

import (
	"context"
	"errors"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/kms"
)

// Sign implements the operation Sign.
func (s *Service) Sign(ctx context.Context, call *Call, in *kms.SignRequest) (*kms.SignResponse, error) {
	k, input, err := s.signingKey(ctx, call, signingRequest{in.KeyId, in.GrantTokens, in.SigningAlgorithm, in.MessageType, in.Message})
	if err != nil {
		return nil, err
	}
	if in.DryRun {
		return nil, errDryRun()
	}
	d, err := s.domainOf(k.CurrentMaterial())
	if err != nil {
		return nil, tokenError(err)
	}
	signature, err := d.Sign(ctx, k.CurrentMaterial(), k.Spec, in.SigningAlgorithm, input)
	if err != nil {
		return nil, tokenError(err)
	}
	return &kms.SignResponse{KeyId: k.arn, Signature: signature, SigningAlgorithm: in.SigningAlgorithm}, nil
}

// Verify implements the operation Verify. A signature that does not verify is an error, never
// SignatureValid false.
func (s *Service) Verify(ctx context.Context, call *Call, in *kms.VerifyRequest) (*kms.VerifyResponse, error) {
	k, input, err := s.signingKey(ctx, call, signingRequest{in.KeyId, in.GrantTokens, in.SigningAlgorithm, in.MessageType, in.Message})
	if err != nil {
		return nil, err
	}
	d, err := s.domainOf(k.CurrentMaterial())
	if err != nil {
		return nil, tokenError(err)
	}
	err = d.Verify(ctx, k.CurrentMaterial(), k.Spec, in.SigningAlgorithm, input, in.Signature)
	if errors.Is(err, hsm.ErrBadSignature) {
		return nil, kms.KMSInvalidSignatureException.Err().Because(err)
	}
	if err != nil {
		return nil, tokenError(err)
	}
	if in.DryRun {
		return nil, errDryRun()
	}
	return &kms.VerifyResponse{KeyId: k.arn, SignatureValid: true, SigningAlgorithm: in.SigningAlgorithm}, nil
}

// signingRequest is what Sign and Verify have in common.
type signingRequest struct {
	keyID       string
	grantTokens []string
	algorithm   kms.SigningAlgorithmSpec
	messageType kms.MessageType
	message     []byte
}

// signingKey takes the key of a signature and the message through the checks.
func (s *Service) signingKey(ctx context.Context, call *Call, in signingRequest) (key, hsm.SignInput, error) {
	k, err := s.usable(ctx, call, in.keyID, byGrant{tokens: in.grantTokens}, string(in.algorithm))
	if err != nil {
		return k, hsm.SignInput{}, err
	}
	input, err := signInput(in)
	if err == nil && input.ExternalMu && !s.tells(k.KeyRecord).Supports(k.Spec, hsm.ExternalMu) {
		err = kms.Errorf(kms.UnsupportedOperationException, "The token that holds %s does not support MessageType %s, for which it needs CKM_ML_DSA_EXTERNAL_MU.", k.arn, in.messageType)
	}
	return k, input, err
}

// digestSizes is the length in bytes of what MessageType DIGEST takes for each algorithm. The
// algorithms that are missing take no digest. Nothing writes to it.
var digestSizes = map[kms.SigningAlgorithmSpec]int{
	kms.SigningAlgorithmSpecRsassaPkcs1V15Sha256: 32,
	kms.SigningAlgorithmSpecRsassaPkcs1V15Sha384: 48,
	kms.SigningAlgorithmSpecRsassaPkcs1V15Sha512: 64,
	kms.SigningAlgorithmSpecRsassaPssSha256:      32,
	kms.SigningAlgorithmSpecRsassaPssSha384:      48,
	kms.SigningAlgorithmSpecRsassaPssSha512:      64,
	kms.SigningAlgorithmSpecEcdsaSha256:          32,
	kms.SigningAlgorithmSpecEcdsaSha384:          48,
	kms.SigningAlgorithmSpecEcdsaSha512:          64,
	kms.SigningAlgorithmSpecEd25519PhSha512:      64,
	kms.SigningAlgorithmSpecSm2dsa:               32,
}

// externalMuSize is the length in bytes of what MessageType EXTERNAL_MU takes (FIPS 204, algorithm 7).
const externalMuSize = 64

// signInput reads Message as MessageType says (AWS KMS API reference, Sign, "MessageType").
// ED25519_PH_SHA_512 takes a digest only, and hashes it again as its message; EXTERNAL_MU is for
// ML-DSA alone.
func signInput(in signingRequest) (hsm.SignInput, error) {
	size, digests := digestSizes[in.algorithm]
	prehash := in.algorithm == kms.SigningAlgorithmSpecEd25519PhSha512
	switch in.messageType {
	case "", kms.MessageTypeRaw:
		if prehash {
			return hsm.SignInput{}, badMessageType(kms.MessageTypeRaw, in.algorithm)
		}
		return hsm.SignInput{Message: in.message}, nil
	case kms.MessageTypeDigest:
		if !digests {
			return hsm.SignInput{}, badMessageType(in.messageType, in.algorithm)
		}
		if len(in.message) != size {
			return hsm.SignInput{}, kms.Errorf(kms.ValidationException, "Digest is invalid length for algorithm %s.", in.algorithm)
		}
		return hsm.SignInput{Message: in.message, Digest: !prehash}, nil
	case kms.MessageTypeExternalMu:
		if in.algorithm != kms.SigningAlgorithmSpecMlDsaShake256 {
			return hsm.SignInput{}, badMessageType(in.messageType, in.algorithm)
		}
		if len(in.message) != externalMuSize {
			return hsm.SignInput{}, kms.Errorf(kms.ValidationException, "Digest is invalid length for algorithm %s.", in.algorithm)
		}
		return hsm.SignInput{Message: in.message, ExternalMu: true}, nil
	}
	return hsm.SignInput{}, badMessageType(in.messageType, in.algorithm)
}

func badMessageType(given kms.MessageType, algorithm kms.SigningAlgorithmSpec) error {
	return kms.Errorf(kms.ValidationException, "MessageType %s is not valid for algorithm %s.", given, algorithm)
}
