package hsm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/kms11/kms11/kms"
)

// Key material passes from one domain to another in two messages, of which nothing is secret:
//
//	receiving domain                              sending domain
//	makes an RSA pair in its token
//	     ---- Offer: the public half, signed --->
//	                                              makes an AES key in its token, the transport key,
//	                                              wraps it to the pair (RSAES-OAEP), and each material
//	                                              under it (RFC 3394 or RFC 5649)
//	     <--- Consignment: both wrapped, signed --
//	unwraps both in its token, wraps each material
//	under its own domain key, destroys the rest
//
// Each domain signs with its transfer key and knows the other's public half from the other's
// description, which the caller must have from an authenticated place: so neither can be given a pair
// or material by somebody else. The pair serves for one consignment, which names it.
//
// Every object on the way is a session object and sensitive; those that are wrapped, and those alone,
// are extractable for that moment, and can do nothing else.

// A TransferRequest is the material of one key that goes to another domain.
type TransferRequest struct {
	Spec  kms.KeySpec
	KeyID string
	// Materials are wrapped ones of the sending domain. A resident key cannot leave its token.
	Materials []kms.Material
}

// An Offer is a pair that can receive material once.
type Offer struct {
	From, To  string   // ids of the sending domain and of the receiving one
	PublicKey []byte   // DER SubjectPublicKeyInfo
	Hashes    []string // of RSAES-OAEP with which the token unwraps
	Signature []byte   // by the receiving domain's transfer key
}

// A Consignment is the answer to an Offer.
type Consignment struct {
	From, To  string
	PublicKey []byte // that of the offer
	Hash      string // of RSAES-OAEP
	Transport []byte // the transport key, wrapped
	Spec      kms.KeySpec
	KeyID     string
	Items     []ConsignedItem
	Signature []byte // by the sending domain's transfer key
}

// A ConsignedItem is one material.
type ConsignedItem struct {
	// Material is the sending domain's, but that Wrap and Blob are those under the transport key, and
	// that it names no domain.
	Material kms.Material
	// Check is an answer of a secret key that only that key gives; empty for a private key.
	Check []byte
}

// errTransfer: an offer or a consignment is not what the other domain made for this one.
var errTransfer = errors.New("the transfer of key material between domains was tampered with")

// Transfer gives copies of material of one domain as material of another, with the same ids, times and
// schemes. It makes an RSA pair, which takes a fraction of a second or more. The error matches
// ErrUnsupported if a token of the receiving domain cannot have or use such material, ErrTokenDown if
// no token of one of the domains is up. Nothing is left in a token, whatever the outcome.
func Transfer(ctx context.Context, from, to *Domain, r TransferRequest) (moved []kms.Material, err error) {
	if len(r.Materials) == 0 {
		return nil, nil
	}
	if err := to.CanReceive(r.Spec, r.Materials...); err != nil {
		return nil, err
	}
	for range maxReplaced {
		signers := [2]*kms.Material{from.transfer.Load(), to.transfer.Load()}
		moved, err = transferOnce(ctx, from, to, r)
		renewed := errors.Is(err, errTransfer) && signers != [2]*kms.Material{from.transfer.Load(), to.transfer.Load()}
		if !renewed && !errors.Is(err, errPairLost) {
			break
		}
	}
	switch {
	case errors.Is(err, errPairLost):
		return nil, fmt.Errorf("%w: %w", ErrTokenDown, err)
	case err != nil:
		return nil, fmt.Errorf("transfer key material from domain %s to %s: %w", from.ID(), to.ID(), err)
	}
	return moved, nil
}

func transferOnce(ctx context.Context, from, to *Domain, r TransferRequest) (moved []kms.Material, err error) {
	reception, err := to.Receive(ctx, from.ID())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, reception.Close()) }()
	consignment, err := from.Send(ctx, to.Describe(), reception.Offer(), r)
	if err != nil {
		return nil, err
	}
	return reception.Accept(ctx, from.Describe(), consignment)
}

// A transcript is what is signed: a label, then each part behind its length, u32 big-endian.
type transcript []byte

func newTranscript(label string) transcript { return transcript("kms11 transfer " + label + " 1\x00") }

func (t *transcript) add(parts ...[]byte) {
	for _, p := range parts {
		*t = binary.BigEndian.AppendUint32(*t, uint32(len(p)))
		*t = append(*t, p...)
	}
}

func (t *transcript) addText(parts ...string) {
	for _, p := range parts {
		t.add([]byte(p))
	}
}

func (t *transcript) addNumber(n int) { *t = binary.BigEndian.AppendUint32(*t, uint32(n)) }

func (o *Offer) transcript() []byte {
	t := newTranscript("offer")
	t.addText(o.From, o.To)
	t.add(o.PublicKey)
	t.addNumber(len(o.Hashes))
	t.addText(o.Hashes...)
	return t
}

func (c *Consignment) transcript() []byte {
	t := newTranscript("consignment")
	t.addText(c.From, c.To)
	t.add(c.PublicKey)
	t.addText(c.Hash)
	t.add(c.Transport)
	t.addText(string(c.Spec), c.KeyID)
	t.addNumber(len(c.Items))
	for i := range c.Items {
		m := &c.Items[i].Material
		t.addText(m.ID)
		t.addNumber(int(m.Ordinal))
		t.addText(m.Created.UTC().Format("2006-01-02T15:04:05.000000000Z"), string(m.Scheme), string(m.Wrap))
		t.addNumber(m.Length)
		t.add(m.Blob, m.PublicKey, c.Items[i].Check)
	}
	return t
}
