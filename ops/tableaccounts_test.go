package ops

import (
	"slices"
	"strings"
	"testing"

	"github.com/kms11/kms11/kms"
)

// testAccounts sends every use from another account: as strangers, who must not learn which keys
// exist, and as those that the key policy names.
func testAccounts(t *testing.T, k *keyring) {
	open := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":["` + account + `","` + stranger + `"]},"Action":"kms:*","Resource":"*"}}`
	denies := `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*"}}`
	root := k.call(stranger)
	// Somebody whose own policy tells what happens after the key is found.
	spy := k.userCall(stranger, "spy", `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}`)
	for _, u := range k.uses() {
		t.Run(u.name+" "+string(u.key.KeySpec), func(t *testing.T) {
			k := k.on(t)
			const named = "alias/seen"
			k.must("CreateAlias", in{"AliasName": named, "TargetKeyId": u.key.KeyId})
			defer k.must("DeleteAlias", in{"AliasName": named})
			if u.other != nil { // which must not be what is refused
				k.editRecord(u.other.KeyId, setPolicy(open))
			}
			twoForms := slices.Contains(twoForms(), u.op)
			refused := func(keyID string) {
				t.Helper()
				for _, call := range []*Call{root, spy} {
					if call == spy && u.name == "ReEncryptTo" {
						continue // the source is open, so that this caller is refused there
					}
					_, err := k.invokeAs(call, u.op, u.but(u.member, keyID))
					want := notSeen(call.Caller.Principal.ARN, u.name)
					wantError(t, err, want.code, want.text)
				}
			}
			// The key that a ciphertext names may be of another account as well.
			byBlob := (u.op == "Decrypt" || u.member == "SourceKeyId") && u.key.KeySpec == kms.KeySpecSymmetricDefault
			all := []string{u.key.Arn, strings.Replace(u.key.Arn, u.key.KeyId, ghostKey, 1)}
			if !twoForms {
				all = append(all, aliasARN(account, "seen"), aliasARN(account, "none"))
			}
			for _, policy := range []string{k.record(u.key.KeyId).Policy, denies} {
				k.with(u.key.KeyId, setPolicy(policy), func() {
					for _, keyID := range all {
						refused(keyID)
					}
					if byBlob {
						for _, call := range []*Call{root, spy} {
							_, err := k.invokeAs(call, u.op, u.without(u.member))
							wantError(t, err, kms.AccessDeniedException, unknownBlob(call.Caller.Principal.ARN, u.name))
						}
					}
				})
			}
			k.with(u.key.KeyId, setPolicy(open), func() {
				if twoForms { // these do not cross accounts
					refused(u.key.Arn)
					return
				}
				out, err := k.invokeAs(root, u.op, u.but(u.member, u.key.Arn))
				if err != nil {
					t.Fatal(err)
				}
				k.wantKeyARN(u, out)
				if byBlob {
					if out, err = k.invokeAs(root, u.op, u.without(u.member)); err != nil {
						t.Fatal(err)
					}
					k.wantKeyARN(u, out)
				}
				if u.name == "ReEncryptTo" {
					return
				}
				forbidden := func(request in, what string) {
					t.Helper()
					_, err := k.invokeAs(spy, u.op, request)
					wantError(t, err, kms.AccessDeniedException, "User: "+spy.Caller.Principal.ARN+" is not authorized to perform: kms:"+u.name+
						" on "+what+" with an explicit deny in an identity-based policy")
				}
				forbidden(u.but(u.member, u.key.Arn), "resource: "+u.key.Arn)
				if byBlob {
					forbidden(u.without(u.member), "the resource associated with this ciphertext")
				}
			})
		})
	}
}
