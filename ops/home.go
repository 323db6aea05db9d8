package ops

import (
	"context"
	"crypto/sha256"
	"errors"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// A home is where the material of a symmetric encryption key works: the domain, the token of a
// custom key store, or the domain with an external key around it.
type home interface {
	// seal encrypts under the current material of k and gives the blob.
	seal(ctx context.Context, call *Call, k key, plaintext []byte, context map[string]string) ([]byte, error)
	// dataKey makes size bytes with the generator of the domain and seals them. The caller wipes them where it
	// does not hand them out.
	dataKey(ctx context.Context, call *Call, k key, size int, context map[string]string) (plaintext, blob []byte, err error)
	// open decrypts what seal made.
	open(ctx context.Context, call *Call, from source) ([]byte, error)
}

// homeOf gives the home of a key whose state allows its use. It is the one place that tells them
// apart.
func (s *Service) homeOf(ctx context.Context, k key) (home, error) {
	switch {
	case k.store == nil:
		return (*domainHome)(s), nil
	case k.store.CloudHSM != nil:
		vault, err := s.vaultOf(ctx, k.store)
		if err != nil {
			return nil, clusterError(k, err)
		}
		return vaultHome{s, vault}, nil
	}
	proxy, err := s.proxyOf(ctx, k.store)
	if err != nil {
		return nil, externalError(err)
	}
	return externalHome{s, proxy}, nil
}

// sealer is what domains and vaults do alike.
type sealer interface {
	Encrypt(ctx context.Context, m *kms.Material, aad, plaintext []byte) (hsm.Sealed, error)
	Decrypt(ctx context.Context, m *kms.Material, sealed hsm.Sealed, aad []byte) ([]byte, error)
}

// sealBlob makes a blob of version 1 without an external layer. The error is the token's.
func sealBlob(ctx context.Context, in sealer, k key, plaintext []byte, context map[string]string) ([]byte, error) {
	c := newCiphertext(k)
	sealed, err := in.Encrypt(ctx, k.CurrentMaterial(), c.bound(context), plaintext)
	if err != nil {
		return nil, err
	}
	return c.with(sealed), nil
}

// sealedRandom is home.dataKey where the domain does not seal.
func (s *Service) sealedRandom(ctx context.Context, in home, call *Call, k key, size int, context map[string]string) (plaintext, blob []byte, err error) {
	d, err := s.domainOf(k.CurrentMaterial())
	if err == nil {
		plaintext, err = d.Random(ctx, size)
	}
	if err != nil {
		return nil, nil, tokenError(err)
	}
	if blob, err = in.seal(ctx, call, k, plaintext, context); err != nil {
		clear(plaintext)
		return nil, nil, err
	}
	return plaintext, blob, nil
}

// openBlob opens what sealBlob made. The error is the token's.
func openBlob(ctx context.Context, in sealer, from source) ([]byte, error) {
	aad := append(make([]byte, 0, 128), from.blob[:headerSize]...)
	return in.Decrypt(ctx, from.material, hsm.Sealed{
		Nonce:      from.ciphertext.nonce,
		IV:         from.ciphertext.iv,
		Ciphertext: from.ciphertext.sealed,
	}, appendContext(aad, from.context))
}

// domainHome is the home of most keys.
type domainHome Service

func (h *domainHome) seal(ctx context.Context, _ *Call, k key, plaintext []byte, context map[string]string) ([]byte, error) {
	d, err := (*Service)(h).domainOf(k.CurrentMaterial())
	if err != nil {
		return nil, tokenError(err)
	}
	blob, err := sealBlob(ctx, d, k, plaintext, context)
	return blob, tokenError(err)
}

func (h *domainHome) dataKey(ctx context.Context, _ *Call, k key, size int, context map[string]string) (plaintext, blob []byte, err error) {
	d, err := (*Service)(h).domainOf(k.CurrentMaterial())
	if err != nil {
		return nil, nil, tokenError(err)
	}
	c := newCiphertext(k)
	plaintext, sealed, err := d.EncryptRandom(ctx, k.CurrentMaterial(), c.bound(context), size)
	if err != nil {
		return nil, nil, tokenError(err)
	}
	return plaintext, c.with(sealed), nil
}

func (h *domainHome) open(ctx context.Context, _ *Call, from source) ([]byte, error) {
	d, err := (*Service)(h).domainOf(from.material)
	if err != nil {
		return nil, tokenError(err)
	}
	plaintext, err := openBlob(ctx, d, from)
	return plaintext, tokenError(err)
}

// vaultHome is the home of a key that is an object in the token of a custom key store.
type vaultHome struct {
	service *Service
	vault   *hsm.Vault
}

func (h vaultHome) seal(ctx context.Context, _ *Call, k key, plaintext []byte, context map[string]string) ([]byte, error) {
	blob, err := sealBlob(ctx, h.vault, k, plaintext, context)
	return blob, h.failed(k, err)
}

func (h vaultHome) dataKey(ctx context.Context, call *Call, k key, size int, context map[string]string) (plaintext, blob []byte, err error) {
	return h.service.sealedRandom(ctx, h, call, k, size, context)
}

func (h vaultHome) open(ctx context.Context, _ *Call, from source) ([]byte, error) {
	plaintext, err := openBlob(ctx, h.vault, from)
	return plaintext, h.failed(from.key, err)
}

func (h vaultHome) failed(k key, err error) error {
	if hsm.PINCounted(err) {
		h.service.connections.wake() // the store has failed
	}
	return clusterError(k, err)
}

// clusterText is AWS's text (Developer Guide, "Troubleshooting a custom key store", "How to respond to
// a cryptographic operation failure").
const clusterText = "KMS cannot communicate with your CloudHSM cluster"

// clusterError is what a cryptographic operation makes of an error of a custom key store's token: a
// key whose object is gone is unavailable.
func clusterError(k key, err error) error {
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, hsm.ErrBadCiphertext):
		return kms.InvalidCiphertextException.Err().Because(err)
	case errors.Is(err, hsm.ErrKeyGone):
		return kms.Errorf(kms.KMSInvalidStateException, "%s is unavailable.", k.arn).Because(err)
	}
	return kms.Errorf(kms.KMSInvalidStateException, clusterText).Because(err)
}

// externalHome is the home of a key with an external key: material of the domain encrypts first, and
// the external key what comes of it (Developer Guide, "How external key stores work", "double
// encryption"). So a ciphertext needs both.
type externalHome struct {
	service *Service
	proxy   ExternalProxy
}

func (h externalHome) seal(ctx context.Context, call *Call, k key, plaintext []byte, context map[string]string) ([]byte, error) {
	c := newCiphertext(k)
	c.external = true
	header := c.appendHeader(nil, shortIV)
	d, err := h.service.domainOf(k.CurrentMaterial())
	if err != nil {
		return nil, tokenError(err)
	}
	inner, err := d.Encrypt(ctx, k.CurrentMaterial(), appendContext(header, context), plaintext)
	if err != nil {
		return nil, tokenError(err)
	}
	text := make([]byte, 0, len(inner.Nonce)+len(inner.IV)+len(inner.Ciphertext))
	text = append(append(append(text, inner.Nonce...), inner.IV...), inner.Ciphertext...)
	c.outer, err = h.proxy.Encrypt(ctx, proxyCall(call, k.arn), k.XksKeyID, outerAAD(header, context), text)
	if err != nil {
		return nil, externalError(err)
	}
	if !c.outer.fits(len(text)) {
		return nil, externalError(&ProxyError{Fault: ProxyMalformed, Cause: errors.New("a ciphertext of impossible sizes")})
	}
	return c.marshal(), nil
}

func (h externalHome) dataKey(ctx context.Context, call *Call, k key, size int, context map[string]string) (plaintext, blob []byte, err error) {
	return h.service.sealedRandom(ctx, h, call, k, size, context)
}

func (h externalHome) open(ctx context.Context, call *Call, from source) ([]byte, error) {
	k, header := from.key, from.blob[:headerSize:headerSize]
	d, err := h.service.domainOf(from.material)
	if err != nil {
		return nil, tokenError(err)
	}
	text, err := h.proxy.Decrypt(ctx, proxyCall(call, k.arn), k.XksKeyID, outerAAD(header, from.context), from.ciphertext.outer)
	if err != nil {
		return nil, externalError(err)
	}
	nonce := from.ciphertext.form().nonceSize
	if len(text) != len(from.ciphertext.outer.Ciphertext) {
		return nil, externalError(&ProxyError{Fault: ProxyMalformed, Cause: errors.New("a plaintext of another length than its ciphertext")})
	}
	plaintext, err := d.Decrypt(ctx, from.material, hsm.Sealed{
		Nonce:      text[:nonce],
		IV:         text[nonce : nonce+shortIV],
		Ciphertext: text[nonce+shortIV:],
	}, appendContext(header, from.context))
	if errors.Is(err, hsm.ErrBadCiphertext) {
		return nil, kms.Errorf(kms.KMSInvalidStateException, proxyTextInner).Because(err)
	}
	return plaintext, tokenError(err)
}

// outerAAD is the additional authenticated data of the external layer: the blob's first 22 bytes and
// the hash of the encryption context, which may be longer than a proxy takes and is not the proxy's
// to read.
func outerAAD(header []byte, context map[string]string) []byte {
	sum := sha256.Sum256(appendContext(nil, context))
	return append(append(make([]byte, 0, headerSize+len(sum)), header...), sum[:]...)
}

// bound is what a new blob of version 1 is bound to: its header and the encryption context.
func (c *ciphertext) bound(context map[string]string) []byte {
	return appendContext(c.appendHeader(make([]byte, 0, 128), shortIV), context)
}

// with is the blob of what was sealed.
func (c *ciphertext) with(sealed hsm.Sealed) []byte {
	c.nonce, c.iv, c.sealed = sealed.Nonce, sealed.IV, sealed.Ciphertext
	return c.marshal()
}

// newCiphertext is the header of a new blob of k.
func newCiphertext(k key) ciphertext {
	material := k.CurrentMaterial()
	c := ciphertext{scheme: material.Scheme, ordinal: material.Ordinal}
	c.key, c.multiRegion, _ = kms.KeyIDBytes(k.ID)
	return c
}

// housed gives a key its custom key store, if it is in one.
func (s *Service) housed(ctx context.Context, k key) (key, error) {
	id, in := k.Home()
	if !in {
		return k, nil
	}
	var err error
	k.store, err = s.store.CustomKeyStore(ctx, id)
	return k, err
}

// housedIn is housed as a transaction sees it.
func housedIn(tx *keystore.Tx, k key) (key, error) {
	id, in := k.Home()
	if !in {
		return k, nil
	}
	var err error
	k.store, err = tx.CustomKeyStore(id)
	return k, err
}

// state is the key's state as clients see it: a key that could be used, or enabled, is unavailable
// while its custom key store is not connected (Developer Guide, "Key states of AWS KMS keys").
func (k key) state() kms.KeyState {
	if k.store == nil || k.store.State == kms.ConnectionStateTypeConnected {
		return k.State
	}
	if k.State == kms.KeyStateEnabled || k.State == kms.KeyStateDisabled {
		return kms.KeyStateUnavailable
	}
	return k.State
}
