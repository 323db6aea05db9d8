package hsm_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
)

// side is a domain on a token whose calls are written down.
type side struct {
	witness *hsmtest.Witness
	token   *hsm.Token
	domain  *hsm.Domain
}

func newSide(t *testing.T) side {
	t.Helper()
	s := side{witness: hsmtest.NewWitness(t)}
	s.token = hsmtest.Open(t, hsm.Config{URI: hsmtest.NewURIOf(t, s.witness.Module), PairsAhead: -1})
	s.domain = hsmtest.Domain(t, s.token)
	if err := s.domain.MakeTransferKey(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestTransferCalls reads from the C_ calls of two tokens, each with a library of its own, how key
// material passes from one to the other:
//
//   - what C_WrapKey of the one gave is what C_UnwrapKey of the other took, and nothing else passes;
//   - the keys that wrap it are the pair that the receiving token made and the key that came wrapped to
//     that pair;
//   - no key that may leave a token is read, kept, copied or used, and each is destroyed;
//   - no secret or private key is put into a token in clear, and none that is read gives a byte.
func TestTransferCalls(t *testing.T) {
	from, to := newSide(t), newSide(t)
	secret := newKey(t, from.domain)
	pair := newPair(t, from.domain, kms.KeySpecEccNistP256, kms.KeyUsageTypeSignVerify)
	large := newPair(t, from.domain, kms.KeySpecRsa2048, kms.KeyUsageTypeEncryptDecrypt)
	for _, c := range []struct {
		spec     kms.KeySpec
		material kms.Material
	}{{kms.KeySpecSymmetricDefault, secret}, {kms.KeySpecEccNistP256, pair}, {kms.KeySpecRsa2048, large}} {
		t.Run(string(c.spec), func(t *testing.T) {
			from.witness.Calls(t)
			to.witness.Calls(t)
			moved := transfer(t, from.domain, to.domain, c.spec, c.material)
			sent, received := from.witness.Calls(t), to.witness.Calls(t)
			wantSafe(t, "sending", sent)
			wantSafe(t, "receiving", received)

			// The way of the material in the sending token: out from under the domain key …
			leaving := only(t, sent, "C_UnwrapKey", func(v map[string]string) bool {
				return v["extractable"] == "1" && v["in"] == hex.EncodeToString(c.material.Blob)
			})
			// … and under the transport key, which went under the receiving token's pair.
			out := only(t, sent, "C_WrapKey", func(v map[string]string) bool { return v["object"] == leaving["object"] && v["out"] != "" })
			transport := only(t, sent, "C_GenerateKey", func(v map[string]string) bool { return v["object"] == out["by"] })
			byOAEP := fmt.Sprintf("%x", pkcs11.CKM_RSA_PKCS_OAEP)
			carried := only(t, sent, "C_WrapKey", func(v map[string]string) bool {
				return v["object"] == transport["object"] && v["mechanism"] == byOAEP && v["out"] != ""
			})

			// In the receiving token both come in, and the material goes under the domain key.
			made := only(t, received, "C_GenerateKeyPair", func(map[string]string) bool { return true })
			opened := only(t, received, "C_UnwrapKey", func(v map[string]string) bool { return v["in"] == carried["out"] })
			if opened["by"] != made["object"] || opened["extractable"] != "0" || made["extractable"] != "0" || made["sensitive"] != "1" {
				t.Errorf("the transport key came in by %v to the pair %v", opened, made)
			}
			arrived := only(t, received, "C_UnwrapKey", func(v map[string]string) bool { return v["in"] == out["out"] })
			if arrived["by"] != opened["object"] {
				t.Errorf("the material came in by %v", arrived)
			}
			kept := only(t, received, "C_WrapKey", func(v map[string]string) bool { return v["object"] == arrived["object"] && v["out"] != "" })
			if kept["out"] != hex.EncodeToString(moved[0].Blob) {
				t.Error("what is stored is not what the token wrapped")
			}

			// What is stored opens in its own token only, and for one use: the objects that are made to
			// compare it come from that blob and cannot leave.
			for _, calls := range [][]hsmtest.WitnessedCall{sent, received} {
				for _, call := range calls {
					if v := call.Values; call.Function == "C_UnwrapKey" && v["extractable"] == "1" && v["object"] != leaving["object"] && v["object"] != arrived["object"] && !isTrial(calls, v) {
						t.Errorf("another key that may leave: %v", v)
					}
				}
			}
			// Nothing else that one token gave went into the other.
			for _, call := range received {
				if call.Function != "C_UnwrapKey" {
					continue
				}
				for _, gave := range sent {
					if gave.Values["out"] == call.Values["in"] && gave.Values["out"] != carried["out"] && gave.Values["out"] != out["out"] {
						t.Errorf("the receiving token took %v", gave.Values)
					}
				}
			}
			mustWork(t, from.domain, to.domain, c.spec, &c.material, &moved[0])
		})
	}
}

// isTrial says that an object is one of those with which the pair is tried: it was unwrapped from what
// the same token wrapped of a key that it had just made.
func isTrial(calls []hsmtest.WitnessedCall, values map[string]string) bool {
	return slices.ContainsFunc(calls, func(c hsmtest.WitnessedCall) bool {
		return c.Function == "C_WrapKey" && c.Values["out"] == values["in"]
	})
}

func mustWork(t *testing.T, from, to *hsm.Domain, spec kms.KeySpec, was, is *kms.Material) {
	t.Helper()
	if spec == kms.KeySpecSymmetricDefault {
		mustOpen(t, to, is, seal(t, from, was, "a", "text"), "a", "text")
		return
	}
	row, _ := kms.SpecOf(spec)
	usage := kms.KeyUsageTypeSignVerify
	if spec == kms.KeySpecRsa2048 {
		usage = kms.KeyUsageTypeEncryptDecrypt
	}
	use, _ := row.Use(usage)
	agreeOn(t, from, to, was, is, spec, use)
}

// only finds the one call of a function that succeeded with such values.
func only(t *testing.T, calls []hsmtest.WitnessedCall, function string, match func(map[string]string) bool) map[string]string {
	t.Helper()
	var found []map[string]string
	for _, c := range calls {
		if c.Function == function && c.OK() && match(c.Values) {
			found = append(found, c.Values)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d calls of %s: %v", len(found), function, found)
	}
	return found[0]
}

// wantSafe looks at all calls of one token during a transfer.
func wantSafe(t *testing.T, name string, calls []hsmtest.WitnessedCall) {
	t.Helper()
	loose := map[string]bool{} // objects that may leave and are there
	count := map[string]int{}
	for _, c := range calls {
		v := c.Values
		count[c.Function]++
		if c.Function == "C_DestroyObject" && c.OK() {
			delete(loose, v["object"])
			continue
		}
		if v["secret"] != "" && c.Function == "C_CreateObject" {
			t.Errorf("%s: key material was put in from outside: %v", name, v)
		}
		if c.Function == "C_GetAttributeValue" { // only those of secret parts are written down
			switch {
			case loose[v["object"]]:
				t.Errorf("%s: a key that may leave was asked for its value: %v", name, v)
			case v["rv"] != fmt.Sprintf("%x", uint(pkcs11.CKR_ATTRIBUTE_SENSITIVE)) || v["given"] != "-1":
				t.Errorf("%s: a key gave a part of its value: %v", name, v)
			}
		}
		if !c.OK() || v["extractable"] != "1" {
			if loose[v["object"]] && c.Function != "C_WrapKey" {
				t.Errorf("%s: a key that may leave was used by %s: %v", name, c.Function, v)
			}
			if loose[v["from"]] {
				t.Errorf("%s: a key that may leave was copied or derived from: %v", name, v)
			}
			continue
		}
		if v["sensitive"] != "1" || v["token"] != "0" {
			t.Errorf("%s: %s made a key that may leave with %v", name, c.Function, v)
		}
		loose[v["object"]] = true
	}
	if len(loose) > 0 {
		t.Errorf("%s: keys that may leave are left: %v", name, loose)
	}
	if count["C_WrapKey"] == 0 || count["C_UnwrapKey"] == 0 {
		t.Errorf("%s: %v calls were seen", name, count) // else the witness sees nothing
	}
}

// TestWitness makes the calls that a transfer must not make, and wants them written down.
func TestWitness(t *testing.T) {
	s := newSide(t)
	s.witness.Calls(t)
	value := bytes.Repeat([]byte{0x5a}, 32)
	material, err := s.domain.WrapKey(t.Context(), hsm.KeyRequest{Spec: kms.KeySpecSymmetricDefault}, bytes.Clone(value))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.domain.GenerateKeyPair(t.Context(), kms.DataKeyPairSpecEccNistP256); err != nil { // which is handed out
		t.Fatal(err)
	}
	mustOpen(t, s.domain, &material, seal(t, s.domain, &material, "", "x"), "", "x")
	calls := s.witness.Calls(t)
	only(t, calls, "C_CreateObject", func(v map[string]string) bool {
		return v["secret"] == fmt.Sprintf("%x", uint(pkcs11.CKA_VALUE)) && v["extractable"] == "1"
	})
	read, used := 0, 0
	for _, c := range calls {
		if c.Function == "C_GetAttributeValue" && c.OK() && c.Values["given"] != "-1" {
			read++
		}
		if strings.HasSuffix(c.Function, "cryptInit") && c.OK() {
			used++
		}
	}
	if read == 0 || used != 2 {
		t.Errorf("a value was read %d times, message keys used %d times", read, used)
	}
}
