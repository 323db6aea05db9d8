package ops

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/kms"
)

// importToken is what GetParametersForImport gives a client to keep until ImportKeyMaterial: the
// private half of the pair, wrapped, and what it is for. It is sealed for one key, so nothing has to
// be remembered: any node can finish the import. The plaintext is
//
//	version     1 byte: 1
//	algorithm   1 byte: 1 RSAES_OAEP_SHA_1, 2 RSAES_OAEP_SHA_256, 3 RSA_AES_KEY_WRAP_SHA_1, 4 RSA_AES_KEY_WRAP_SHA_256
//	pair        1 byte: 1 RSA_2048, 2 RSA_3072, 3 RSA_4096
//	expires     8 bytes: milliseconds since 1970 UTC
//	domain key  4 bytes: the version that wrapped the private half
//	n           2 bytes: length of the public half
//	public      n bytes: the public half, DER SubjectPublicKeyInfo
//	private     the rest: the private half, wrapped by RFC 5649
//
// Numbers are big-endian.
type importToken struct {
	algorithm kms.AlgorithmSpec
	spec      kms.WrappingKeySpec
	expires   time.Time
	pair      kms.Material
}

const (
	importTokenVersion = 1
	importTokenHeader  = 1 + 1 + 1 + 8 + 4 + 2
)

// importAlgorithms and importPairs are in the order of their codes, from 1. Nothing writes to them.
var (
	importAlgorithms = []kms.AlgorithmSpec{
		kms.AlgorithmSpecRsaesOaepSha1, kms.AlgorithmSpecRsaesOaepSha256,
		kms.AlgorithmSpecRsaAesKeyWrapSha1, kms.AlgorithmSpecRsaAesKeyWrapSha256,
	}
	importPairs = []kms.WrappingKeySpec{kms.WrappingKeySpecRsa2048, kms.WrappingKeySpecRsa3072, kms.WrappingKeySpecRsa4096}
)

func (t *importToken) marshal() []byte {
	b := make([]byte, 0, importTokenHeader+len(t.pair.PublicKey)+len(t.pair.Blob))
	b = append(b, importTokenVersion, byte(1+slices.Index(importAlgorithms, t.algorithm)), byte(1+slices.Index(importPairs, t.spec)))
	b = binary.BigEndian.AppendUint64(b, uint64(t.expires.UnixMilli()))
	b = binary.BigEndian.AppendUint32(b, t.pair.DomainKey)
	b = binary.BigEndian.AppendUint16(b, uint16(len(t.pair.PublicKey)))
	return append(append(b, t.pair.PublicKey...), t.pair.Blob...)
}

var errImportToken = errors.New("not an import token")

func parseImportToken(b []byte) (*importToken, error) {
	if len(b) < importTokenHeader || b[0] != importTokenVersion {
		return nil, errImportToken
	}
	algorithm, pair := int(b[1])-1, int(b[2])-1
	expires := binary.BigEndian.Uint64(b[3:])
	public := int(binary.BigEndian.Uint16(b[15:]))
	rest := b[importTokenHeader:]
	if algorithm < 0 || algorithm >= len(importAlgorithms) || pair < 0 || pair >= len(importPairs) ||
		expires > math.MaxInt64 || public == 0 || public >= len(rest) {
		return nil, errImportToken
	}
	return &importToken{
		algorithm: importAlgorithms[algorithm],
		spec:      importPairs[pair],
		expires:   time.UnixMilli(int64(expires)).UTC(),
		pair: kms.Material{
			Wrap:      kms.AESKeyWrapPad,
			DomainKey: binary.BigEndian.Uint32(b[11:]),
			PublicKey: rest[:public:public],
			Blob:      rest[public:],
		},
	}, nil
}

// importPurpose binds a sealed import token to its key in its Region.
func importPurpose(k key) string { return "import-token/" + k.arn }

// sealImportToken seals a token by the domain that made its pair.
func (s *Service) sealImportToken(ctx context.Context, d *hsm.Domain, k key, t *importToken) ([]byte, error) {
	sealed, err := d.Seal(ctx, importPurpose(k), t.marshal())
	return sealed, tokenError(err)
}

// openImportToken gives the token of a key. One that was made for another, or by nobody, is not
// valid; one that was valid has expired at its time.
func (s *Service) openImportToken(ctx context.Context, d *hsm.Domain, k key, sealed []byte) (*importToken, error) {
	plain, err := d.Open(ctx, importPurpose(k), sealed)
	if errors.Is(err, hsm.ErrBadCiphertext) || errors.Is(err, hsm.ErrNotFound) {
		return nil, invalidImportToken(err)
	}
	if err != nil {
		return nil, tokenError(err)
	}
	t, err := parseImportToken(plain)
	if err != nil {
		return nil, invalidImportToken(err)
	}
	if !t.expires.After(s.now()) {
		return nil, kms.Errorf(kms.ExpiredImportTokenException, "The request was rejected because the specified import token is expired.")
	}
	return t, nil
}

func invalidImportToken(cause error) error {
	return kms.Errorf(kms.InvalidImportTokenException,
		"The request was rejected because the provided import token is invalid or is associated with a different KMS key.").Because(cause)
}
