package main

import (
	"encoding/json"
	"net/http"
	"sync"
)

// bareKeyARN is in the bare path's answers, so that they have an Encrypt answer's size.
const bareKeyARN = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"

// barePath is the least an HSM-backed Encrypt can be: net/http, the signature, JSON in, one
// token call on one session, JSON out. No key lookup, policy, validation, encryption context,
// key derivation, record, log or recovery. What the server costs more than this is what those
// cost.
type barePath struct {
	read  func(*http.Request) ([]byte, error)
	mu    sync.Mutex // a session is for one call at a time
	token *token
}

type bareRequest struct {
	KeyId             string
	Plaintext         []byte
	EncryptionContext map[string]string
}

type bareAnswer struct {
	CiphertextBlob      []byte
	KeyId               string
	EncryptionAlgorithm string
}

func newBarePath() (http.Handler, error) {
	t, err := openToken()
	if err != nil {
		return nil, err
	}
	return &barePath{read: verifiedBody(floorVerifier()), token: t}, nil
}

func (b *barePath) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out, err := b.encrypt(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer(w, out)
}

func (b *barePath) encrypt(r *http.Request) ([]byte, error) {
	body, err := b.read(r)
	if err != nil {
		return nil, err
	}
	var in bareRequest
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, err
	}
	b.mu.Lock()
	blob, err := b.token.encrypt(in.Plaintext)
	b.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return json.Marshal(bareAnswer{CiphertextBlob: blob, KeyId: bareKeyARN, EncryptionAlgorithm: "SYMMETRIC_DEFAULT"})
}
