package ops

import (
	"encoding/base64"
	"testing"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

func TestGrantTokens(t *testing.T) {
	h := newHarness(t)
	h.users(account, "alice")
	key, other := h.createKey(nil), h.createKey(nil)
	request := in{"KeyId": key.KeyId, "GranteePrincipal": userARN(account, "alice"), "Name": "n", "Operations": []string{"Encrypt", "Decrypt"}}
	first, second := h.grant(request), h.grant(request)
	alice := h.userCall(account, "alice")
	encrypt := func(tokens ...string) in {
		return in{"KeyId": key.KeyId, "Plaintext": []byte("x"), "GrantTokens": tokens}
	}
	h.wantAllowed(alice, "Encrypt", encrypt(first.GrantToken))
	h.wantAllowed(alice, "Encrypt", encrypt(second.GrantToken, first.GrantToken))
	h.wantAllowed(h.call(account), "Encrypt", encrypt(first.GrantToken))
	// A token opens nothing to another caller, nor another key or operation.
	h.wantDenied(h.userCall(account, "bob"), "Encrypt", encrypt(first.GrantToken))
	h.wantDenied(alice, "Encrypt", in{"KeyId": other.KeyId, "Plaintext": []byte("x"), "GrantTokens": []string{first.GrantToken}})
	h.wantDenied(alice, "DescribeKey", in{"KeyId": key.KeyId, "GrantTokens": []string{first.GrantToken}})

	foreign := h.userCall(account, "alice")
	foreign.Region = "eu-west-1"
	_, err := h.invokeAs(foreign, "RetireGrant", in{"GrantToken": first.GrantToken})
	wantError(t, err, kms.InvalidGrantTokenException, "The grant token is not valid.")

	raw, err := base64.StdEncoding.DecodeString(first.GrantToken)
	if err != nil {
		t.Fatal(err)
	}
	forged := []string{"x", "AAAA", first.GrantToken[:len(first.GrantToken)-4], first.GrantToken + "\n", first.GrantToken[:8] + "\n" + first.GrantToken[8:]}
	for i := range raw {
		raw[i] ^= 1
		forged = append(forged, base64.StdEncoding.EncodeToString(raw))
		raw[i] ^= 1
	}
	sealed, err := h.domain.Seal(t.Context(), "access-key/AKIA", append(make([]byte, 33), key.Arn...))
	if err != nil {
		t.Fatal(err)
	}
	forged = append(forged, base64.StdEncoding.EncodeToString(sealed))
	for _, token := range forged {
		for op, request := range map[string]in{
			"Encrypt": encrypt(token), "RetireGrant": {"GrantToken": token}, "DescribeKey": {"KeyId": key.KeyId, "GrantTokens": []string{token}},
		} {
			_, err := h.invoke(op, request)
			wantError(t, err, kms.InvalidGrantTokenException, "The grant token is not valid.")
		}
	}
	h.must("RevokeGrant", in{"KeyId": key.KeyId, "GrantId": first.GrantId})
	_, err = h.invoke("Encrypt", encrypt(first.GrantToken))
	wantError(t, err, kms.InvalidGrantTokenException, "The grant token is not valid.")
}

// TestGrantIndexIsNoGrant: the entries that lead to grants are hints. Taken away, they hide a grant
// from a decision, but not from a token, which is what a node goes by that has not heard of the
// grant; made up, they lead nobody to somebody else's grant.
func TestGrantIndexIsNoGrant(t *testing.T) {
	h := newHarness(t)
	h.users(account, "alice")
	key := h.createKey(nil)
	grant := h.grant(in{"KeyId": key.KeyId, "GranteePrincipal": userARN(account, "alice"), "Operations": []string{"Encrypt"}})
	entry := func(name string) []byte {
		return []byte("aws/" + account + "/" + testRegion + "/grantee/" + key.KeyId + ";arn:aws:iam::" + account + ":user%2F" + name + ";-;" + grant.GrantId)
	}
	err := h.engine.Update(t.Context(), func(tx keystore.EngineTx) error {
		value, err := tx.Get(entry("alice"))
		if err != nil {
			return err
		}
		if err := tx.Put(entry("bob"), value); err != nil {
			return err
		}
		return tx.Delete(entry("alice"))
	})
	if err != nil {
		t.Fatal(err)
	}
	h.restart()
	request := in{"KeyId": key.KeyId, "Plaintext": []byte("x")}
	h.wantDenied(h.userCall(account, "bob"), "Encrypt", request)
	h.wantDenied(h.userCall(account, "alice"), "Encrypt", request)
	request["GrantTokens"] = []string{grant.GrantToken}
	h.wantAllowed(h.userCall(account, "alice"), "Encrypt", request)
	h.wantDenied(h.userCall(account, "bob"), "Encrypt", request)
}

// FuzzGrantToken: nothing opens but what was made here, and that in one form only.
func FuzzGrantToken(f *testing.F) {
	h := newHarness(f)
	id := keystore.GrantID{Key: keystore.KeyID{Partition: "aws", Account: account, Region: testRegion, ID: ghostKey},
		ID: "00000000000000000000000000000000000000000000000000000000000000ff"}
	token, err := h.service.newGrantToken(f.Context(), id)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token)
	f.Add(token[1:])
	f.Add(token + token)
	f.Add(token[:len(token)-1] + "\r")
	f.Add("AQAAAAE=")
	f.Add("")
	call := h.call(account)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := h.service.openGrantToken(t.Context(), call, text)
		if (err == nil) != (text == token) || err == nil && got != id {
			t.Errorf("%q opens as %v, %v", text, got, err)
		}
		if err != nil && kms.AsError(err).Code != kms.InvalidGrantTokenException {
			t.Errorf("%q: %v", text, err)
		}
	})
}
