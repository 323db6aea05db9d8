package ops

import (
	"testing"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/kms"
)

// besideToken is a request to encrypt of a user with an access key.
type besideToken struct {
	b         testing.TB
	service   *Service
	accessKey string
	call      *Call
	request   kms.EncryptRequest
	key       key
	sealed    hsm.Sealed // what the token made of it
}

func newBesideToken(b testing.TB) *besideToken {
	h := newHarness(b)
	h.service.now = time.Now
	admin, err := h.service.CreateAdministrator(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	id := h.createKey(nil).KeyId
	h.must("CreateAlias", in{"AliasName": "alias/orders", "TargetKeyId": id})
	r := &besideToken{b: b, service: h.service, accessKey: admin.ID}
	r.request = kms.EncryptRequest{KeyId: id, Plaintext: make([]byte, 64), EncryptionContext: map[string]string{"tenant": "green"}}
	r.identify()
	r.find()
	r.sealed, err = h.domain.Encrypt(b.Context(), r.key.CurrentMaterial(), nil, r.request.Plaintext)
	if err != nil {
		b.Fatal(err)
	}
	return r
}

// identify finds the caller.
func (r *besideToken) identify() {
	_, caller, err := r.service.Credential(r.b.Context(), r.accessKey)
	if err != nil {
		r.b.Fatal(err)
	}
	r.call = &Call{RequestID: "test", Region: testRegion, Caller: caller, Origin: Origin{SourceIP: "10.1.2.3", Secure: true}, Began: r.service.now()}
}

// find does all that comes before the token.
func (r *besideToken) find() {
	in := &r.request
	r.call.begin(r.b.Context(), "Encrypt", in)
	if err := r.service.admit(r.call, in); err != nil {
		r.b.Fatal(err)
	}
	by := byGrant{context: in.EncryptionContext}
	var err error
	if r.key, err = r.service.usable(r.b.Context(), r.call, in.KeyId, by, encryptionAlgorithm("")); err != nil {
		r.b.Fatal(err)
	}
}

// seal does what is around the token.
func (r *besideToken) seal() {
	if _, err := r.service.homeOf(r.b.Context(), r.key); err != nil {
		r.b.Fatal(err)
	}
	c := newCiphertext(r.key)
	if len(c.bound(r.request.EncryptionContext)) == 0 || len(c.with(r.sealed)) == 0 {
		r.b.Fatal("nothing was sealed")
	}
}

// TestFindingAllocatesNothing: neither by what names the key nor in the checks before the token.
func TestFindingAllocatesNothing(t *testing.T) {
	r := newBesideToken(t)
	for _, name := range []string{r.key.ID, r.key.arn, "alias/orders"} {
		r.request.KeyId = name
		if n := testing.AllocsPerRun(100, r.find); n != 0 {
			t.Errorf("%s: it allocates %v times", name, n)
		}
	}
}

// BenchmarkBesideToken is what a request to encrypt costs without reading it and without the token.
func BenchmarkBesideToken(b *testing.B) {
	r := newBesideToken(b)
	run := func(name string, parts ...func()) {
		b.Run(name, func(b *testing.B) {
			r.b = b
			b.ReportAllocs()
			for b.Loop() {
				for _, part := range parts {
					part()
				}
			}
		})
	}
	note := func() { r.service.noteUses(r.call) }
	run("identify", r.identify)
	for _, form := range [][2]string{{"alias", "alias/orders"}, {"arn", r.key.arn}, {"id", r.key.ID}} {
		r.request.KeyId = form[1]
		run("find/"+form[0], r.find)
	}
	run("seal", r.seal)
	run("note", note)
	run("all", r.identify, r.find, r.seal, note)
}
