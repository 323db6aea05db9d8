// Package ops_test reads and writes what kms11 does as docs/formats.md describes it, with nothing
// but the standard library: ciphertexts and keystores have to stay readable without kms11.
package ops_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/keystore/boltengine"
	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/ops"
)

const (
	partition = "aws"
	account   = "111122223333"
	region    = "us-east-1"
	singleKey = "1234abcd-12ab-34cd-56ef-1234567890ab"
	multiKey  = "mrk-1234abcd12ab34cd56ef1234567890ac"
	keyPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + account + `:root"},"Action":"kms:*","Resource":"*"}]}`
)

// contexts are encryption contexts, some of them easily taken for each other.
var contexts = []map[string]string{
	nil,
	{},
	{"ab": "c"},
	{"a": "bc"},
	{"": ""},
	{"b": "2", "a": "1", "B": "3", "aa": "4", "": "5"},
	// In UTF-16 these two sort the other way round.
	{"\uffff": "before", "\U00010000": "after"},
}

// outside is a service with two keys whose materials are known out here: ordinals 1 and 2 of each.
type outside struct {
	t         *testing.T
	domain    *hsm.Domain
	path      string // of the keystore
	engine    *boltengine.Engine
	store     *keystore.Store
	service   *ops.Service
	materials map[string][2][]byte // by key id
}

func newOutside(t *testing.T, domain *hsm.Domain) *outside {
	t.Helper()
	o := &outside{t: t, domain: domain, path: filepath.Join(t.TempDir(), "keystore.db"), materials: map[string][2][]byte{}}
	var err error
	if o.engine, err = boltengine.Create(o.path); err != nil {
		t.Fatal(err)
	}
	if o.store, err = keystore.Create(t.Context(), o.engine, domain.Describe(), domain); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.close)
	o.service = ops.New(ops.Config{Store: o.store, Domain: domain, Account: account, Region: region})
	o.putKey(singleKey, nil)
	o.putKey(multiKey, &keystore.MultiRegion{Type: kms.MultiRegionKeyTypePrimary, PrimaryRegion: region, ReplicaRegions: []string{"eu-west-1"}})
	return o
}

// close may be called again.
func (o *outside) close() {
	if o.store == nil {
		return
	}
	if err := errors.Join(o.store.Close(), o.engine.Close()); err != nil {
		o.t.Error(err)
	}
	o.store = nil
}

// putKey writes a key record with as many of the optional members as can go together.
func (o *outside) putKey(id string, multi *keystore.MultiRegion) {
	o.t.Helper()
	now := time.Now()
	record := &keystore.KeyRecord{
		Partition: partition, Account: account, Region: region, ID: id, Created: now, Description: "known outside",
		Spec: kms.KeySpecSymmetricDefault, Usage: kms.KeyUsageTypeEncryptDecrypt, Origin: kms.OriginTypeAwsKms,
		Manager: kms.KeyManagerTypeCustomer, State: kms.KeyStateEnabled, Policy: keyPolicy,
		Tags: []keystore.Tag{{Key: "k", Value: ""}}, Current: 2, MultiRegion: multi,
		Rotation: &keystore.Rotation{Enabled: true, PeriodInDays: 365, Next: now, OnDemand: 1},
	}
	var known [2][]byte
	for i := range known {
		known[i] = randomBytes(32)
		material, err := o.domain.WrapKey(o.t.Context(), hsm.KeyRequest{Spec: record.Spec, Usage: record.Usage, KeyID: id}, bytes.Clone(known[i])) // which wipes it
		if err != nil {
			o.t.Fatal(err)
		}
		material.Ordinal, material.Created = uint32(i)+1, now
		record.Materials = append(record.Materials, keystore.KeyMaterial{Material: material})
	}
	record.Materials[1].Rotated, record.Materials[1].RotationType = now, kms.RotationTypeOnDemand
	o.materials[id] = known
	if err := o.store.Update(o.t.Context(), func(tx *keystore.Tx) error { return tx.CreateKey(record) }); err != nil {
		o.t.Fatal(err)
	}
}

// invoke sends a request of the account's root user, with the shape of package kms, through the
// table of operations.
func (o *outside) invoke(name string, in any) (any, error) {
	o.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		o.t.Fatal(err)
	}
	operation, ok := o.service.Operation(name)
	if !ok {
		o.t.Fatalf("no operation %s", name)
	}
	call := &ops.Call{RequestID: "test", Region: region, Caller: ops.RootCaller(partition, account)}
	return operation.Invoke(o.t.Context(), o.service, call, body)
}

func (o *outside) must(name string, in any) any {
	o.t.Helper()
	out, err := o.invoke(name, in)
	if err != nil {
		o.t.Fatalf("%s: %v", name, err)
	}
	return out
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // crypto/rand never fails
	return b
}

// blob is a ciphertext as docs/formats.md draws it in "Ciphertexts".
type blob struct {
	multiRegion bool
	scheme      byte // 1 ecb, 3 direct; 2, sp800-108, is beyond SoftHSM2 and so beyond these tests
	keyID       [16]byte
	ordinal     uint32
	nonce, iv   []byte
	sealed      []byte // ciphertext and tag
}

const blobHeader = 22

var nonceSizes = map[byte]int{1: 15, 2: 16, 3: 0}

func decodeBlob(raw []byte) (b blob, err error) {
	if len(raw) < blobHeader || raw[0] != 1 || raw[1]&0xf0 != 0 {
		return b, errors.New("not a ciphertext of version 1")
	}
	b.multiRegion, b.scheme = raw[1]&1 != 0, raw[1]>>1&3
	nonce, known := nonceSizes[b.scheme]
	iv := 12
	if raw[1]&8 != 0 {
		iv = 16
	}
	if !known || len(raw) < blobHeader+nonce+iv+16 {
		return b, errors.New("a scheme that is none, or cut short")
	}
	b.keyID = [16]byte(raw[2:18])
	b.ordinal = binary.BigEndian.Uint32(raw[18:22])
	rest := raw[blobHeader:]
	b.nonce, b.iv, b.sealed = rest[:nonce], rest[nonce:nonce+iv], rest[nonce+iv:]
	return b, nil
}

func (b blob) header() []byte {
	flags := b.scheme << 1
	if b.multiRegion {
		flags |= 1
	}
	if len(b.iv) == 16 {
		flags |= 8
	}
	header := append([]byte{1, flags}, b.keyID[:]...)
	return binary.BigEndian.AppendUint32(header, b.ordinal)
}

func (b blob) encode() []byte { return slices.Concat(b.header(), b.nonce, b.iv, b.sealed) }

// additionalData is what GCM authenticates besides the plaintext.
func (b blob) additionalData(context map[string]string) []byte {
	data := b.header()
	for _, key := range slices.Sorted(maps.Keys(context)) { // Go compares strings by their bytes
		for _, text := range []string{key, context[key]} {
			data = binary.BigEndian.AppendUint32(data, uint32(len(text)))
			data = append(data, text...)
		}
	}
	return data
}

// messageKey is the key of the ciphertext, 32 bytes.
func (b blob) messageKey(t *testing.T, material []byte) []byte {
	t.Helper()
	if b.scheme == 3 {
		return material
	}
	block, err := aes.NewCipher(material)
	if err != nil {
		t.Fatal(err)
	}
	key := make([]byte, 32)
	block.Encrypt(key[:16], append([]byte{1}, b.nonce...))
	block.Encrypt(key[16:], append([]byte{2}, b.nonce...))
	return key
}

func (b blob) gcm(t *testing.T, material []byte) cipher.AEAD {
	t.Helper()
	block, err := aes.NewCipher(b.messageKey(t, material))
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCMWithNonceSize(block, len(b.iv))
	if err != nil {
		t.Fatal(err)
	}
	return gcm
}

// open decodes a ciphertext of the service and decrypts it out here.
func (o *outside) open(raw []byte, keyID string, context map[string]string) (blob, []byte) {
	o.t.Helper()
	b, err := decodeBlob(raw)
	if err != nil {
		o.t.Fatal(err)
	}
	if !bytes.Equal(b.encode(), raw) {
		o.t.Errorf("%x is written back as %x", raw, b.encode())
	}
	if id, multi := keyIDBytes(o.t, keyID); b.keyID != id || b.multiRegion != multi || b.ordinal != 2 {
		o.t.Fatalf("the ciphertext names key %x, multi-Region %t, material %d", b.keyID, b.multiRegion, b.ordinal)
	}
	plaintext, err := b.gcm(o.t, o.materials[keyID][b.ordinal-1]).Open(nil, b.iv, b.sealed, b.additionalData(context))
	if err != nil {
		o.t.Fatalf("context %q: %v", context, err)
	}
	return b, plaintext
}

// seal makes a ciphertext out here.
func (o *outside) seal(b blob, keyID string, plaintext []byte, context map[string]string) blob {
	o.t.Helper()
	b.keyID, b.multiRegion = keyIDBytes(o.t, keyID)
	b.nonce = randomBytes(nonceSizes[b.scheme])
	b.sealed = b.gcm(o.t, o.materials[keyID][b.ordinal-1]).Seal(nil, b.iv, plaintext, b.additionalData(context))
	return b
}

func keyIDBytes(t *testing.T, keyID string) (id [16]byte, multiRegion bool) {
	t.Helper()
	digits, multiRegion := strings.CutPrefix(keyID, "mrk-")
	raw, err := hex.DecodeString(strings.ReplaceAll(digits, "-", ""))
	if err != nil || len(raw) != 16 {
		t.Fatalf("%s is no key id", keyID)
	}
	return [16]byte(raw), multiRegion
}

// eachScheme runs a test for the derivation schemes that SoftHSM2 can do.
func eachScheme(t *testing.T, test func(t *testing.T, o *outside, scheme byte, overhead int)) {
	t.Run("ecb", func(t *testing.T) { test(t, newOutside(t, hsmtest.Domain(t)), 1, 65) })
	t.Run("direct", func(t *testing.T) {
		token := hsmtest.Token(t)
		description := hsmtest.Domain(t, token).Describe()
		description.Scheme = kms.DeriveNone
		domain, err := hsm.OpenDomain(t.Context(), []*hsm.Token{token}, description)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := domain.Close(); err != nil {
				t.Error(err)
			}
		})
		test(t, newOutside(t, domain), 3, 50)
	})
}
