package ops

import (
	"errors"
	"testing"

	"github.com/miekg/pkcs11"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
)

// witness is a session beside those of package hsm.
type witness struct {
	t       testing.TB
	ctx     *pkcs11.Ctx
	session pkcs11.SessionHandle
}

// newWitness opens a session with the token that holds the domain. The login is the process's, so
// the session sees what hsm's sessions see.
func newWitness(t testing.TB, d *hsm.Domain) *witness {
	t.Helper()
	w := &witness{t: t, ctx: pkcs11.New(hsmtest.OwnModule(t))}
	if w.ctx == nil {
		t.Fatal("the library cannot be loaded a second time")
	}
	t.Cleanup(w.ctx.Destroy)
	if err := w.ctx.Initialize(); !errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED)) {
		t.Fatalf("the module is not the one that the service uses: C_Initialize gives %v", err)
	}
	slots, err := w.ctx.GetSlotList(true)
	if err != nil {
		t.Fatal(err)
	}
	for _, slot := range slots {
		// Read and write: a session that may only read could not try to change anything.
		w.session, err = w.ctx.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
		if err != nil {
			continue // a slot whose token was never initialised
		}
		if len(w.find(pkcs11.NewAttribute(pkcs11.CKA_ID, d.Describe().Keys[0].ObjectID))) > 0 {
			t.Cleanup(func() {
				if err := w.ctx.CloseSession(w.session); err != nil {
					t.Error(err)
				}
			})
			return w
		}
		if err := w.ctx.CloseSession(w.session); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("no token shows the domain's keys to a second session")
	return nil
}

func (w *witness) objects() []pkcs11.ObjectHandle { return w.find() }

func (w *witness) find(like ...*pkcs11.Attribute) []pkcs11.ObjectHandle {
	w.t.Helper()
	if err := w.ctx.FindObjectsInit(w.session, like); err != nil {
		w.t.Fatal(err)
	}
	var all []pkcs11.ObjectHandle
	for {
		some, _, err := w.ctx.FindObjects(w.session, 100)
		if err != nil {
			w.t.Fatal(err)
		}
		if len(some) == 0 {
			break
		}
		all = append(all, some...)
	}
	if err := w.ctx.FindObjectsFinal(w.session); err != nil {
		w.t.Fatal(err)
	}
	return all
}

func (w *witness) get(o pkcs11.ObjectHandle, attribute uint) ([]byte, error) {
	got, err := w.ctx.GetAttributeValue(w.session, o, []*pkcs11.Attribute{pkcs11.NewAttribute(attribute, nil)})
	if err != nil {
		return nil, err
	}
	return got[0].Value, nil
}

func (w *witness) is(o pkcs11.ObjectHandle, attribute uint) bool {
	value, err := w.get(o, attribute)
	return err == nil && len(value) == 1 && value[0] == 1
}

func (w *witness) class(o pkcs11.ObjectHandle) uint {
	value, err := w.get(o, pkcs11.CKA_CLASS)
	if err != nil || len(value) == 0 {
		return ^uint(0)
	}
	return uint(value[0]) // the classes are small numbers and the first byte is the lowest
}

// secretParts are all attributes in which a token could show what a key is.
var secretParts = []uint{pkcs11.CKA_VALUE, pkcs11.CKA_PRIVATE_EXPONENT, pkcs11.CKA_PRIME_1, pkcs11.CKA_PRIME_2,
	pkcs11.CKA_EXPONENT_1, pkcs11.CKA_EXPONENT_2, pkcs11.CKA_COEFFICIENT}

// checkClosed wants a secret or private key to be sensitive, non-extractable and unreadable. An
// object that ends meanwhile, such as a message key, is let go.
func (w *witness) checkClosed(o pkcs11.ObjectHandle) {
	w.t.Helper()
	class, err := w.get(o, pkcs11.CKA_CLASS)
	if gone(err) {
		return
	}
	if err != nil || len(class) == 0 {
		w.t.Errorf("object %d has no class: %v", o, err)
		return
	}
	switch uint(class[0]) {
	case pkcs11.CKO_PUBLIC_KEY:
		return
	case pkcs11.CKO_SECRET_KEY, pkcs11.CKO_PRIVATE_KEY:
	default:
		w.t.Errorf("object %d is of class %d: neither key nor public", o, class[0])
	}
	flags, err := w.ctx.GetAttributeValue(w.session, o, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, nil), pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, nil), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, nil),
	})
	if gone(err) {
		return
	}
	if err != nil {
		w.t.Errorf("object %d: %v", o, err)
		return
	}
	if private, sensitive, extractable := flags[0].Value[0], flags[1].Value[0], flags[2].Value[0]; private != 1 || sensitive != 1 || extractable != 0 {
		w.t.Errorf("object %d: PRIVATE %d, SENSITIVE %d, EXTRACTABLE %d", o, private, sensitive, extractable)
	}
	sensitive := 0
	for _, part := range secretParts {
		switch _, err := w.get(o, part); {
		case gone(err):
			return
		case errors.Is(err, pkcs11.Error(pkcs11.CKR_ATTRIBUTE_SENSITIVE)):
			sensitive++
		case !errors.Is(err, pkcs11.Error(pkcs11.CKR_ATTRIBUTE_TYPE_INVALID)):
			w.t.Errorf("object %d: C_GetAttributeValue(0x%X) gives %v", o, part, err)
		}
	}
	if sensitive == 0 {
		w.t.Errorf("object %d has nothing that is sensitive", o)
	}
}

func gone(err error) bool { return errors.Is(err, pkcs11.Error(pkcs11.CKR_OBJECT_HANDLE_INVALID)) }

// useGroups are uses that may go together. Across groups they would let a key out, or let one
// scheme answer for another.
var useGroups = [][]uint{
	{pkcs11.CKA_WRAP, pkcs11.CKA_UNWRAP},
	{pkcs11.CKA_ENCRYPT, pkcs11.CKA_DECRYPT},
	{pkcs11.CKA_SIGN, pkcs11.CKA_SIGN_RECOVER, pkcs11.CKA_VERIFY, pkcs11.CKA_VERIFY_RECOVER},
	{pkcs11.CKA_DERIVE},
}

func (w *witness) checkOneUse(o pkcs11.ObjectHandle) {
	w.t.Helper()
	if w.class(o) == pkcs11.CKO_PUBLIC_KEY {
		return
	}
	var uses []uint
	groups := 0
	for _, group := range useGroups {
		before := len(uses)
		for _, use := range group {
			if w.is(o, use) {
				uses = append(uses, use)
			}
		}
		if len(uses) > before {
			groups++
		}
	}
	if groups != 1 {
		kind, _ := w.get(o, pkcs11.CKA_KEY_TYPE)
		w.t.Errorf("object %d, of class %d and key type %x, has uses of %d kinds: %x", o, w.class(o), kind, groups, uses)
	}
}

// tryToTake tries to make a key leave: by loosening it, by a loose copy, wrapped under each key
// that wraps.
func (w *witness) tryToTake(o pkcs11.ObjectHandle, all []pkcs11.ObjectHandle) {
	w.t.Helper()
	if w.class(o) == pkcs11.CKO_PUBLIC_KEY {
		return
	}
	for _, loose := range []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, false),
	} {
		if err := w.ctx.SetAttributeValue(w.session, o, []*pkcs11.Attribute{loose}); err == nil {
			w.t.Errorf("object %d: C_SetAttributeValue(0x%X) loosens it", o, loose.Type)
		}
		if _, err := w.ctx.CopyObject(w.session, o, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false), loose}); err == nil {
			w.t.Errorf("object %d: C_CopyObject(0x%X) makes a loose copy", o, loose.Type)
		}
	}
	for _, by := range all {
		if !w.is(by, pkcs11.CKA_WRAP) {
			continue
		}
		for _, mechanism := range []uint{pkcs11.CKM_AES_KEY_WRAP, pkcs11.CKM_AES_KEY_WRAP_PAD} {
			_, err := w.ctx.WrapKey(w.session, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)}, by, o)
			if !errors.Is(err, pkcs11.Error(pkcs11.CKR_KEY_UNEXTRACTABLE)) {
				w.t.Errorf("object %d: C_WrapKey under %d gives %v", o, by, err)
			}
		}
	}
	w.checkClosed(o)
}

// checkDomainKey looks at one of the domain's resting keys. The domain key must not decrypt: what
// it wrapped would come out in clear.
func (w *witness) checkDomainKey(k kms.DomainKey) {
	w.t.Helper()
	found := w.find(pkcs11.NewAttribute(pkcs11.CKA_ID, k.ObjectID), pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true))
	if len(found) != 1 {
		w.t.Errorf("%s key: %d resting objects", k.Role, len(found))
		return
	}
	if !w.is(found[0], pkcs11.CKA_ALWAYS_SENSITIVE) || !w.is(found[0], pkcs11.CKA_NEVER_EXTRACTABLE) {
		w.t.Errorf("%s key: it could once leave the token", k.Role)
	}
	if k.Role != kms.RoleWrap {
		return
	}
	ecb := []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_ECB, nil)}
	for name, begin := range map[string]func(pkcs11.SessionHandle, []*pkcs11.Mechanism, pkcs11.ObjectHandle) error{
		"C_EncryptInit": w.ctx.EncryptInit,
		"C_DecryptInit": w.ctx.DecryptInit,
	} {
		if err := begin(w.session, ecb, found[0]); !errors.Is(err, pkcs11.Error(pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED)) {
			w.t.Errorf("%s with the domain key gives %v", name, err)
		}
	}
}
