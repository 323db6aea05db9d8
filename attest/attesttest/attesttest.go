// Package attesttest makes attestation documents for tests: what a Nitro hypervisor would sign,
// signed by a chain of certificates of its own.
//
//	chain := attesttest.NewChain(t, time.Now())
//	claims := attesttest.Claims(t, chain, &key.PublicKey)
//	document := chain.Document(t, claims)
//	verifier := attest.Verifier{Roots: chain.Roots()}
package attesttest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// A Chain is a root, two CAs below it and an enclave's certificate, as AWS lays them out.
type Chain struct {
	// Certificates begin with the root and end with the enclave's.
	Certificates []*x509.Certificate
	// Key is the enclave's signing key, RootKey the root's.
	Key, RootKey *ecdsa.PrivateKey

	made time.Time
}

// The places of a chain's certificates, as given to a change.
const (
	Root = iota
	Regional
	Zonal
	Enclave
)

// NewChain makes a chain that is valid from a minute before now until three hours after it, which
// is how long a real enclave's certificate lives. Each change sees every certificate before it is
// signed, with its place, and may alter it.
func NewChain(t testing.TB, now time.Time, changes ...func(place int, template *x509.Certificate)) *Chain {
	t.Helper()
	chain := &Chain{made: now}
	var issuerKey *ecdsa.PrivateKey // a root's own
	for place, name := range []string{"test.nitro-enclaves", "regional.test", "zonal.test", "enclave.test"} {
		template := &x509.Certificate{
			SerialNumber:          big.NewInt(int64(place) + 1),
			Subject:               pkix.Name{Country: []string{"US"}, Organization: []string{"Test"}, CommonName: name},
			NotBefore:             now.Add(-time.Minute),
			NotAfter:              now.Add(3 * time.Hour),
			BasicConstraintsValid: true,
			IsCA:                  place < Enclave,
			KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
			MaxPathLen:            -1,
		}
		if place == Enclave {
			template.KeyUsage = x509.KeyUsageDigitalSignature
		}
		for _, change := range changes {
			change(place, template)
		}
		key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		must(t, err)
		issuer := template
		if place == Root {
			chain.RootKey, issuerKey = key, key
		} else {
			issuer = chain.Certificates[place-1]
		}
		der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, issuerKey)
		must(t, err)
		certificate, err := x509.ParseCertificate(der)
		must(t, err)
		chain.Certificates = append(chain.Certificates, certificate)
		chain.Key, issuerKey = key, key
	}
	return chain
}

// Roots is a pool with the chain's root.
func (c *Chain) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.Certificates[Root])
	return pool
}

// RootPEM is the chain's root as a configuration file holds it.
func (c *Chain) RootPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificates[Root].Raw})
}

// Claims is a payload that verifies: registers 0 to 15 with different values, SHA-384 of nothing
// but their index, and the public key. Tests change it as they need.
func Claims(t testing.TB, chain *Chain, recipient *rsa.PublicKey) map[string]any {
	t.Helper()
	publicKey, err := x509.MarshalPKIXPublicKey(recipient)
	must(t, err)
	pcrs := make(map[int][]byte, 16)
	for index := range 16 {
		sum := sha512.Sum384([]byte{byte(index)})
		pcrs[index] = sum[:]
	}
	var bundle [][]byte
	for _, certificate := range chain.Certificates[:Enclave] {
		bundle = append(bundle, certificate.Raw)
	}
	return map[string]any{
		"module_id":   "i-1234567890abcdef0-enc1234567890abcdef",
		"digest":      "SHA384",
		"timestamp":   uint64(chain.made.UnixMilli()),
		"pcrs":        pcrs,
		"certificate": chain.Certificates[Enclave].Raw,
		"cabundle":    bundle,
		"public_key":  publicKey,
		"user_data":   nil,
		"nonce":       nil,
	}
}

// Document encodes and signs a payload.
func (c *Chain) Document(t testing.TB, claims map[string]any) []byte {
	t.Helper()
	return c.Sign(t, Encode(t, claims))
}

// Sign makes an untagged COSE_Sign1 message of a payload, whatever it is.
func (c *Chain) Sign(t testing.TB, payload []byte) []byte {
	t.Helper()
	return c.SignAs(t, map[int]int{1: -35}, payload)
}

// SignAs is Sign with another protected header.
func (c *Chain) SignAs(t testing.TB, header any, payload []byte) []byte {
	t.Helper()
	protected := Encode(t, header)
	digest := sha512.Sum384(Encode(t, []any{"Signature1", protected, []byte{}, payload}))
	r, s, err := ecdsa.Sign(rand.Reader, c.Key, digest[:])
	must(t, err)
	signature := make([]byte, 96)
	r.FillBytes(signature[:48])
	s.FillBytes(signature[48:])
	return Encode(t, []any{protected, map[int]int{}, payload, signature})
}

// Encode is CBOR in its deterministic form.
func Encode(t testing.TB, value any) []byte {
	t.Helper()
	mode, err := cbor.CoreDetEncOptions().EncMode()
	must(t, err)
	var buffer bytes.Buffer
	must(t, mode.NewEncoder(&buffer).Encode(value))
	return buffer.Bytes()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
