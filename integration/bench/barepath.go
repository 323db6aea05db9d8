package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/kms"
)

// bareKeyARN is in the bare path's answers, so that they have an Encrypt answer's size.
const bareKeyARN = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"

// barePath is the least an HSM-backed operation can be: net/http, the signature, JSON in, one
// token call on one session, JSON out. No key lookup, policy, validation, encryption context, key
// derivation, record, log or recovery. What the server costs more than this is what those cost.
type barePath struct {
	read func(*http.Request) ([]byte, error)
	mu   sync.Mutex  // a session is for one call at a time
	keys []*hsm.Bare // of one session; a request takes one at random
	call bareCall
}

// A bareCall is what one operation asks of the token and how it answers.
type bareCall struct {
	spec kms.KeySpec
	do   func(*hsm.Bare, *bareRequest) ([]byte, error)
	out  func([]byte) ([]byte, error)
}

// restingPrefix begins the names of bare paths whose keys rest in the token and are used by copies, as those of
// the external key store proxy are.
const restingPrefix = "bare-xks"

type bareRequest struct {
	KeyId             string
	KeySpec           string
	CiphertextBlob    []byte
	Plaintext         []byte
	Message           []byte
	EncryptionContext map[string]string
	// Those of XKS.
	RequestMetadata                                            map[string]string
	AdditionalAuthenticatedData                                []byte
	Ciphertext, InitializationVector, AuthenticationTag        []byte
	EncryptionAlgorithm, CiphertextDataIntegrityValueAlgorithm string
}

// jsonOf writes answers as the server does.
func jsonOf(r kms.Response) ([]byte, error) { return r.AppendJSON(nil), nil }

// bareXKSAnswer is an answer of XKS's Encrypt.
type bareXKSAnswer struct {
	Ciphertext           []byte `json:"ciphertext"`
	InitializationVector []byte `json:"initializationVector"`
	AuthenticationTag    []byte `json:"authenticationTag"`
}

// bareCalls are the bare paths by the name of their floor.
func bareCalls() map[string]bareCall {
	const (
		p256 = kms.SigningAlgorithmSpecEcdsaSha256
		pss  = kms.SigningAlgorithmSpecRsassaPssSha256
		mac  = kms.MacAlgorithmSpecHmacSha256
	)
	signature := func(algorithm kms.SigningAlgorithmSpec) func([]byte) ([]byte, error) {
		return func(b []byte) ([]byte, error) {
			return jsonOf(&kms.SignResponse{KeyId: bareKeyARN, Signature: b, SigningAlgorithm: algorithm})
		}
	}
	const iv, tag = 12, 16
	sealed := func(b []byte) ([]byte, error) {
		return json.Marshal(bareXKSAnswer{Ciphertext: b[iv : len(b)-tag], InitializationVector: b[:iv], AuthenticationTag: b[len(b)-tag:]})
	}
	return map[string]bareCall{
		"bare": {kms.KeySpecSymmetricDefault,
			func(t *hsm.Bare, in *bareRequest) ([]byte, error) { return t.Encrypt(in.Plaintext) },
			func(b []byte) ([]byte, error) {
				return jsonOf(&kms.EncryptResponse{CiphertextBlob: b, KeyId: bareKeyARN, EncryptionAlgorithm: kms.EncryptionAlgorithmSpecSymmetricDefault})
			}},
		"bare-decrypt": bareDecrypt(func(b []byte) ([]byte, error) {
			return jsonOf(&kms.DecryptResponse{Plaintext: b, KeyId: bareKeyARN, EncryptionAlgorithm: kms.EncryptionAlgorithmSpecSymmetricDefault})
		}),
		"bare-datakey": {kms.KeySpecSymmetricDefault,
			func(t *hsm.Bare, _ *bareRequest) ([]byte, error) {
				key, err := t.Random(plaintextSize)
				if err != nil {
					return nil, err
				}
				blob, err := t.Encrypt(key)
				return append(key, blob...), err
			},
			func(b []byte) ([]byte, error) {
				return jsonOf(&kms.GenerateDataKeyResponse{Plaintext: b[:plaintextSize], CiphertextBlob: b[plaintextSize:], KeyId: bareKeyARN})
			}},
		"bare-xks": {kms.KeySpecSymmetricDefault,
			func(t *hsm.Bare, in *bareRequest) ([]byte, error) { return t.Encrypt(in.Plaintext) },
			sealed},
		"bare-xks-checked": {kms.KeySpecSymmetricDefault,
			func(t *hsm.Bare, in *bareRequest) ([]byte, error) {
				made, err := t.Encrypt(in.Plaintext)
				if err != nil {
					return nil, err
				}
				_, err = t.Decrypt(made)
				return made, err
			},
			sealed},
		"bare-xks-decrypt": bareDecrypt(func(b []byte) ([]byte, error) {
			return json.Marshal(struct {
				Plaintext []byte `json:"plaintext"`
			}{b})
		}),
		"bare-p256": {kms.KeySpecEccNistP256,
			func(t *hsm.Bare, in *bareRequest) ([]byte, error) { return t.Sign(p256, in.Message) }, signature(p256)},
		"bare-pss": {kms.KeySpecRsa2048,
			func(t *hsm.Bare, in *bareRequest) ([]byte, error) { return t.Sign(pss, in.Message) }, signature(pss)},
		"bare-mac": {kms.KeySpecHmac256,
			func(t *hsm.Bare, in *bareRequest) ([]byte, error) { return t.MAC(mac, in.Message) },
			func(b []byte) ([]byte, error) {
				return jsonOf(&kms.GenerateMacResponse{KeyId: bareKeyARN, Mac: b, MacAlgorithm: mac})
			}},
	}
}

// bareDecrypt decrypts one ciphertext of each key over and over, whatever the request has: the keys are made
// anew in each process.
func bareDecrypt(out func([]byte) ([]byte, error)) bareCall {
	sealed := map[*hsm.Bare][]byte{}
	return bareCall{kms.KeySpecSymmetricDefault,
		func(t *hsm.Bare, _ *bareRequest) (_ []byte, err error) {
			if sealed[t] == nil {
				if sealed[t], err = t.Encrypt(make([]byte, plaintextSize)); err != nil {
					return nil, err
				}
			}
			return t.Decrypt(sealed[t])
		},
		out}
}

func (f floor) newBarePath(call bareCall) (http.Handler, error) {
	first, err := f.open(call.spec)
	if err != nil {
		return nil, err
	}
	b := &barePath{read: verifiedBody(floorVerifier()), call: call}
	if !strings.HasPrefix(f.name, restingPrefix) {
		b.keys = []*hsm.Bare{first}
		return b, nil
	}
	for len(b.keys) < f.keys {
		key, err := first.Resting(fmt.Sprint("bench-", len(b.keys)))
		if err != nil {
			return nil, err
		}
		b.keys = append(b.keys, key)
	}
	return b, nil
}

func (b *barePath) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out, err := b.answer(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer(w, out)
}

func (b *barePath) answer(r *http.Request) ([]byte, error) {
	body, err := b.read(r)
	if err != nil {
		return nil, err
	}
	var in bareRequest
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	b.mu.Lock()
	made, err := b.call.do(b.keys[rand.IntN(len(b.keys))], &in)
	b.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return b.call.out(made)
}
