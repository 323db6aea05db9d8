package integration_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

// An outsideKey is a key that OpenSSL or the test made, and how the server shows that it has the same.
type outsideKey struct {
	spec     types.KeySpec
	usage    types.KeyUsageType
	material []byte
	public   []byte // SPKI; of private keys
	wrapping []types.AlgorithmSpec
	prove    func(t testing.TB, client *kms.Client, id *string, key outsideKey)
}

var (
	byOAEP = []types.AlgorithmSpec{types.AlgorithmSpecRsaesOaepSha1, types.AlgorithmSpecRsaesOaepSha256}
	byWrap = []types.AlgorithmSpec{types.AlgorithmSpecRsaAesKeyWrapSha1, types.AlgorithmSpecRsaAesKeyWrapSha256}
)

// outsideKeys are keys of every kind that can be imported (AWS KMS Developer Guide, "Importing key
// material"), with the algorithms that may wrap each.
func outsideKeys(t testing.TB) []outsideKey {
	t.Helper()
	random := func(n int) []byte {
		b := make([]byte, n)
		_, _ = rand.Read(b)
		return b
	}
	keys := []outsideKey{{spec: types.KeySpecSymmetricDefault, usage: types.KeyUsageTypeEncryptDecrypt, material: random(32), wrapping: byOAEP, prove: proveSymmetric}}
	for spec, size := range map[types.KeySpec]int{types.KeySpecHmac224: 28, types.KeySpecHmac256: 32, types.KeySpecHmac384: 48, types.KeySpecHmac512: 64} {
		keys = append(keys, outsideKey{spec: spec, usage: types.KeyUsageTypeGenerateVerifyMac, material: random(size), wrapping: byOAEP, prove: proveHMAC})
	}
	add := func(spec types.KeySpec, usage types.KeyUsageType, wrapping []types.AlgorithmSpec, prove func(testing.TB, *kms.Client, *string, outsideKey), options ...string) {
		private, public := opensslKey(t, options...)
		keys = append(keys, outsideKey{spec, usage, private, public, wrapping, prove})
	}
	for spec, bits := range map[types.KeySpec]string{types.KeySpecRsa2048: "2048", types.KeySpecRsa3072: "3072", types.KeySpecRsa4096: "4096"} {
		add(spec, types.KeyUsageTypeEncryptDecrypt, byWrap, proveRSADecryption, "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:"+bits)
		signs := keys[len(keys)-1] // large pairs take long to make: one serves both usages
		signs.usage, signs.prove = types.KeyUsageTypeSignVerify, proveRSASignature
		keys = append(keys, signs)
	}
	both := slices.Concat(byOAEP, byWrap)
	for spec, curve := range map[types.KeySpec]string{types.KeySpecEccNistP256: "P-256", types.KeySpecEccNistP384: "P-384", types.KeySpecEccNistP521: "P-521", types.KeySpecEccSecgP256k1: "secp256k1"} {
		options := []string{"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:" + curve}
		add(spec, types.KeyUsageTypeSignVerify, both, proveECSignature, options...)
		if spec != types.KeySpecEccSecgP256k1 {
			add(spec, types.KeyUsageTypeKeyAgreement, both, proveAgreement, options...)
		}
	}
	add(types.KeySpecEccNistEdwards25519, types.KeyUsageTypeSignVerify, both, proveECSignature, "-algorithm", "ED25519")
	return keys
}

// TestImport takes every kind of key through the whole import with every algorithm that may wrap it:
// made and wrapped outside, imported, used, deleted and imported once more.
func TestImport(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	wrappingSpecs := []types.WrappingKeySpec{types.WrappingKeySpecRsa2048, types.WrappingKeySpecRsa3072, types.WrappingKeySpecRsa4096}
	used := map[string]bool{}
	turns := map[types.AlgorithmSpec]int{}
	for _, key := range outsideKeys(t) {
		for _, algorithm := range key.wrapping {
			// Each algorithm meets each size once; more of the large pairs only take time.
			pair := wrappingSpecs[0]
			if turn := turns[algorithm]; turn < len(wrappingSpecs) {
				pair = wrappingSpecs[turn]
			}
			turns[algorithm]++
			if key.spec == types.KeySpecEccNistP521 && pair == types.WrappingKeySpecRsa2048 && slices.Contains(byOAEP, algorithm) {
				pair = types.WrappingKeySpecRsa3072 // it does not fit
			}
			used[string(algorithm)+" "+string(pair)] = true
			t.Run(strings.Join([]string{string(key.spec), string(key.usage), string(algorithm), string(pair)}, " "), func(t *testing.T) {
				importFlow(t, client, key, algorithm, pair)
			})
		}
	}
	if len(used) != 4*3 {
		t.Errorf("not every algorithm met every size of wrapping key: %v", slices.Sorted(maps.Keys(used)))
	}
}

func importFlow(t *testing.T, client *kms.Client, key outsideKey, algorithm types.AlgorithmSpec, pair types.WrappingKeySpec) {
	ctx := t.Context()
	made := must(client.CreateKey(ctx, &kms.CreateKeyInput{KeySpec: key.spec, KeyUsage: key.usage, Origin: types.OriginTypeExternal}))(t).KeyMetadata
	if made.KeyState != types.KeyStatePendingImport || made.Enabled || made.Origin != types.OriginTypeExternal {
		t.Errorf("the new key is %s from %s, enabled %v", made.KeyState, made.Origin, made.Enabled)
	}
	parameters := must(client.GetParametersForImport(ctx, &kms.GetParametersForImportInput{KeyId: made.KeyId, WrappingAlgorithm: algorithm, WrappingKeySpec: pair}))(t)
	if left := time.Until(*parameters.ParametersValidTo); left < 23*time.Hour || left > 25*time.Hour {
		t.Errorf("the parameters are valid for %v", left)
	}
	wrapped := opensslWrap(t, parameters.PublicKey, string(algorithm), key.material)
	bring := func(wrapped []byte) (*kms.ImportKeyMaterialOutput, error) {
		return client.ImportKeyMaterial(ctx, &kms.ImportKeyMaterialInput{KeyId: made.KeyId, ImportToken: parameters.ImportToken,
			EncryptedKeyMaterial: wrapped, ExpirationModel: types.ExpirationModelTypeKeyMaterialDoesNotExpire})
	}
	damaged := bytes.Clone(wrapped)
	damaged[len(damaged)/2] ^= 1
	_, err := bring(damaged)
	wantError[*types.InvalidCiphertextException](t, err, "")
	imported := must(bring(wrapped))(t)
	if aws.ToString(imported.KeyId) != *made.Arn || aws.ToString(imported.KeyMaterialId) == "" {
		t.Errorf("ImportKeyMaterial gives %s and the material %s", aws.ToString(imported.KeyId), aws.ToString(imported.KeyMaterialId))
	}
	if m := describe(t, client, *made.KeyId); m.KeyState != types.KeyStateEnabled || m.ExpirationModel != types.ExpirationModelTypeKeyMaterialDoesNotExpire {
		t.Errorf("the key is %s, %s", m.KeyState, m.ExpirationModel)
	}
	if key.public != nil {
		if public := must(client.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: made.KeyId}))(t); !bytes.Equal(public.PublicKey, key.public) {
			t.Error("GetPublicKey gives another key than OpenSSL made")
		}
	}
	key.prove(t, client, made.KeyId, key)

	must(client.DeleteImportedKeyMaterial(ctx, &kms.DeleteImportedKeyMaterialInput{KeyId: made.KeyId}))(t)
	if m := describe(t, client, *made.KeyId); m.KeyState != types.KeyStatePendingImport {
		t.Errorf("without material the key is %s", m.KeyState)
	}
	again := must(bring(wrapped))(t) // the token is good for 24 hours
	if aws.ToString(again.KeyMaterialId) != aws.ToString(imported.KeyMaterialId) {
		t.Error("the same material has another id")
	}
	key.prove(t, client, made.KeyId, key)
}

// proveSymmetric opens what the server encrypts, and has it open what is encrypted out here, by
// nothing but docs/formats.md, "Ciphertexts".
func proveSymmetric(t testing.TB, client *kms.Client, id *string, key outsideKey) {
	t.Helper()
	context := map[string]string{"b": "2", "a": "1"}
	sealed := must(client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: id, Plaintext: []byte("inside"), EncryptionContext: context}))(t).CiphertextBlob
	if plaintext, err := openBlob(*id, key.material, sealed, context); err != nil || string(plaintext) != "inside" {
		t.Errorf("out here it opens as %q: %v", plaintext, err)
	}
	nonce := make([]byte, 15)
	_, _ = rand.Read(nonce)
	blob := sealBlob(t, *id, key.material, nonce, []byte("outside"), context)
	opened := must(client.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: blob, EncryptionContext: context}))(t)
	if string(opened.Plaintext) != "outside" {
		t.Errorf("in there it opens as %q", opened.Plaintext)
	}
	// The id of the material (docs/formats.md, "Ids of key material").
	mac := hmac.New(sha256.New, key.material)
	mac.Write([]byte("\x00\x00\x00\x01kms11 key material\x00" + *id))
	if want := hex.EncodeToString(mac.Sum(nil)); aws.ToString(opened.KeyMaterialId) != want {
		t.Errorf("the material's id is %s, want %s", aws.ToString(opened.KeyMaterialId), want)
	}
}

// blobHeader is the fixed part of a ciphertext of the scheme ecb.
const blobHeader = 22

// messageCipher is AES-256-GCM under the message key of the scheme ecb.
func messageCipher(material, nonce []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(material)
	if err != nil {
		return nil, err
	}
	key := make([]byte, 32)
	block.Encrypt(key[:16], append([]byte{1}, nonce...))
	block.Encrypt(key[16:], append([]byte{2}, nonce...))
	message, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(message)
}

func blobAAD(header []byte, context map[string]string) []byte {
	aad := bytes.Clone(header)
	for _, name := range slices.Sorted(maps.Keys(context)) {
		for _, text := range []string{name, context[name]} {
			aad = binary.BigEndian.AppendUint32(aad, uint32(len(text)))
			aad = append(aad, text...)
		}
	}
	return aad
}

func openBlob(id string, material, blob []byte, context map[string]string) ([]byte, error) {
	header, nonce, rest := blob[:blobHeader], blob[blobHeader:blobHeader+15], blob[blobHeader+15:]
	want := append([]byte{1, 1 << 1}, mustHex(strings.ReplaceAll(id, "-", ""))...)
	if !bytes.Equal(header[:18], want) {
		return nil, hex.InvalidByteError(header[0])
	}
	gcm, err := messageCipher(material, nonce)
	if err != nil {
		return nil, err
	}
	return gcm.Open(nil, rest[:12], rest[12:], blobAAD(header, context))
}

func sealBlob(t testing.TB, id string, material, nonce, plaintext []byte, context map[string]string) []byte {
	t.Helper()
	header := append([]byte{1, 1 << 1}, mustHex(strings.ReplaceAll(id, "-", ""))...)
	header = binary.BigEndian.AppendUint32(header, 1)
	gcm, err := messageCipher(material, nonce)
	if err != nil {
		t.Fatal(err)
	}
	iv := make([]byte, 12)
	_, _ = rand.Read(iv)
	return gcm.Seal(slices.Concat(header, nonce, iv), iv, plaintext, blobAAD(header, context))
}

func mustHex(text string) []byte {
	b, err := hex.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return b
}

func proveHMAC(t testing.TB, client *kms.Client, id *string, key outsideKey) {
	t.Helper()
	hashes := map[types.KeySpec]func() hash.Hash{types.KeySpecHmac224: sha256.New224, types.KeySpecHmac256: sha256.New, types.KeySpecHmac384: sha512.New384, types.KeySpecHmac512: sha512.New}
	algorithm := types.MacAlgorithmSpec("HMAC_SHA_" + strings.TrimPrefix(string(key.spec), "HMAC_"))
	mac := hmac.New(hashes[key.spec], key.material)
	mac.Write([]byte("a message"))
	made := must(client.GenerateMac(t.Context(), &kms.GenerateMacInput{KeyId: id, Message: []byte("a message"), MacAlgorithm: algorithm}))(t)
	if !bytes.Equal(made.Mac, mac.Sum(nil)) {
		t.Error("the tag is not the one computed outside")
	}
	must(client.VerifyMac(t.Context(), &kms.VerifyMacInput{KeyId: id, Message: []byte("a message"), MacAlgorithm: algorithm, Mac: mac.Sum(nil)}))(t)
}

func proveRSADecryption(t testing.TB, client *kms.Client, id *string, key outsideKey) {
	t.Helper()
	for algorithm, digest := range map[types.EncryptionAlgorithmSpec]string{types.EncryptionAlgorithmSpecRsaesOaepSha1: "sha1", types.EncryptionAlgorithmSpecRsaesOaepSha256: "sha256"} {
		blob := openssl(t, []byte("encrypted outside"), map[string][]byte{"key.der": key.public}, "pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", "key.der",
			"-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:"+digest, "-pkeyopt", "rsa_mgf1_md:"+digest)
		opened := must(client.Decrypt(t.Context(), &kms.DecryptInput{KeyId: id, CiphertextBlob: blob, EncryptionAlgorithm: algorithm}))(t)
		if string(opened.Plaintext) != "encrypted outside" {
			t.Errorf("%s decrypts to %q", algorithm, opened.Plaintext)
		}
	}
}

func proveRSASignature(t testing.TB, client *kms.Client, id *string, key outsideKey) {
	t.Helper()
	message := []byte("signed inside")
	signed := must(client.Sign(t.Context(), &kms.SignInput{KeyId: id, Message: message, SigningAlgorithm: types.SigningAlgorithmSpecRsassaPssSha256}))(t)
	if !opensslVerifies(t, key.public, "sha256", message, signed.Signature, "-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:digest") {
		t.Error("OpenSSL does not take the signature for one of its key")
	}
	// PKCS #1 v1.5 has one signature for a message: the one that OpenSSL makes.
	outside := openssl(t, nil, map[string][]byte{"key.der": key.material, "message": message}, "pkeyutl", "-sign", "-keyform", "DER", "-inkey", "key.der",
		"-rawin", "-digest", "sha256", "-in", "message")
	inside := must(client.Sign(t.Context(), &kms.SignInput{KeyId: id, Message: message, SigningAlgorithm: types.SigningAlgorithmSpecRsassaPkcs1V15Sha256}))(t)
	if !bytes.Equal(inside.Signature, outside) {
		t.Error("the PKCS #1 signature is not the one made outside")
	}
}

func proveECSignature(t testing.TB, client *kms.Client, id *string, key outsideKey) {
	t.Helper()
	by := map[types.KeySpec]struct {
		algorithm types.SigningAlgorithmSpec
		digest    string
	}{
		types.KeySpecEccNistP256: {types.SigningAlgorithmSpecEcdsaSha256, "sha256"}, types.KeySpecEccSecgP256k1: {types.SigningAlgorithmSpecEcdsaSha256, "sha256"},
		types.KeySpecEccNistP384: {types.SigningAlgorithmSpecEcdsaSha384, "sha384"}, types.KeySpecEccNistP521: {types.SigningAlgorithmSpecEcdsaSha512, "sha512"},
		types.KeySpecEccNistEdwards25519: {types.SigningAlgorithmSpecEd25519Sha512, ""},
	}[key.spec]
	message := []byte("signed inside")
	signed := must(client.Sign(t.Context(), &kms.SignInput{KeyId: id, Message: message, SigningAlgorithm: by.algorithm}))(t)
	if !opensslVerifies(t, key.public, by.digest, message, signed.Signature) {
		t.Error("OpenSSL does not take the signature for one of its key")
	}
	if opensslVerifies(t, key.public, by.digest, []byte("another"), signed.Signature) {
		t.Error("OpenSSL takes the signature for one of another message")
	}
	args := []string{"pkeyutl", "-sign", "-keyform", "DER", "-inkey", "key.der", "-rawin", "-in", "message"}
	if by.digest != "" {
		args = append(args, "-digest", by.digest)
	}
	outside := openssl(t, nil, map[string][]byte{"key.der": key.material, "message": message}, args...)
	must(client.Verify(t.Context(), &kms.VerifyInput{KeyId: id, Message: message, Signature: outside, SigningAlgorithm: by.algorithm}))(t)
	if by.digest == "" && !bytes.Equal(outside, signed.Signature) {
		t.Error("the Ed25519 signature is not the one made outside")
	}
}

func proveAgreement(t testing.TB, client *kms.Client, id *string, key outsideKey) {
	t.Helper()
	curve := map[types.KeySpec]string{types.KeySpecEccNistP256: "P-256", types.KeySpecEccNistP384: "P-384", types.KeySpecEccNistP521: "P-521"}[key.spec]
	peer, peerPublic := opensslKey(t, "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:"+curve)
	want := openssl(t, nil, map[string][]byte{"own.der": peer, "peer.der": key.public}, "pkeyutl", "-derive", "-keyform", "DER", "-inkey", "own.der", "-peerform", "DER", "-peerkey", "peer.der")
	agreed := must(client.DeriveSharedSecret(t.Context(), &kms.DeriveSharedSecretInput{KeyId: id, PublicKey: peerPublic, KeyAgreementAlgorithm: types.KeyAgreementAlgorithmSpecEcdh}))(t)
	if !bytes.Equal(agreed.SharedSecret, want) || agreed.KeyOrigin != types.OriginTypeExternal {
		t.Errorf("it agrees on another secret than OpenSSL, from %s", agreed.KeyOrigin)
	}
}

// TestImportAcrossRestart: an import token is good after a restart, for its key and its server only.
func TestImportAcrossRestart(t *testing.T) {
	server := kms11test.Start(t)
	client := server.Client(t)
	ctx := t.Context()
	external := func() *types.KeyMetadata {
		return must(client.CreateKey(ctx, &kms.CreateKeyInput{Origin: types.OriginTypeExternal}))(t).KeyMetadata
	}
	key, other := external(), external()
	parameters := must(client.GetParametersForImport(ctx, &kms.GetParametersForImportInput{KeyId: key.KeyId,
		WrappingAlgorithm: types.AlgorithmSpecRsaesOaepSha256, WrappingKeySpec: types.WrappingKeySpecRsa2048}))(t)
	server.Kill(t)
	server.Restart(t)
	client = server.Client(t)
	material := openssl(t, nil, nil, "rand", "32")
	request := &kms.ImportKeyMaterialInput{KeyId: other.KeyId, ImportToken: parameters.ImportToken,
		EncryptedKeyMaterial: opensslWrap(t, parameters.PublicKey, "RSAES_OAEP_SHA_256", material), ExpirationModel: types.ExpirationModelTypeKeyMaterialDoesNotExpire}
	_, err := client.ImportKeyMaterial(ctx, request)
	wantCode(t, err, "InvalidImportTokenException", "")
	request.KeyId = key.KeyId
	must(client.ImportKeyMaterial(ctx, request))(t)
	server.Kill(t)
	server.Restart(t)
	proveSymmetric(t, server.Client(t), key.KeyId, outsideKey{material: material})
}
