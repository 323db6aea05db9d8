package ops

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// manyGrants writes n grants on a key, the i-th to one of a number of grantees and for the
// encryption context n = i, without the requests.
func (h *harness) manyGrants(key *kms.KeyMetadata, n, grantees int) {
	h.t.Helper()
	const batch = 2_000
	for from := 0; from < n; from += batch {
		err := h.store.Update(h.t.Context(), func(tx *keystore.Tx) error {
			for i := from; i < min(from+batch, n); i++ {
				if err := tx.CreateGrant(&keystore.GrantRecord{
					Partition: "aws", Account: account, Region: testRegion, KeyID: key.KeyId,
					ID: fmt.Sprintf("%064x", i), Created: h.clock.Now(), GranteePrincipal: userARN(account, fmt.Sprint("u", i%grantees)),
					IssuingAccount: "arn:aws:iam::" + account + ":root", Operations: []kms.GrantOperation{kms.GrantOperationEncrypt},
					EncryptionContextSubset: map[string]string{"n": fmt.Sprint(i)},
				}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			h.t.Fatal(err)
		}
	}
}

// TestManyGrants: a grantee with many grants is found the right one, by its context.
func TestManyGrants(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	h.manyGrants(key, 2_000, 2)
	encrypt := func(n int) in {
		return in{"KeyId": key.KeyId, "Plaintext": []byte("x"), "EncryptionContext": in{"n": fmt.Sprint(n), "more": "x"}}
	}
	h.wantAllowed(h.userCall(account, "u1"), "Encrypt", encrypt(1_001))
	h.wantDenied(h.userCall(account, "u1"), "Encrypt", encrypt(1_002))
	h.wantDenied(h.userCall(account, "u1"), "Encrypt", encrypt(2_001))
	if got := h.must("ListGrants", in{"KeyId": key.KeyId, "Limit": 100}).(*kms.ListGrantsResponse); len(got.Grants) != 100 || !got.Truncated {
		t.Errorf("a page of %d, truncated %v", len(got.Grants), got.Truncated)
	}
}

// writeGrantCount writes a number of grants as only the token's owner can: docs/formats.md says
// how.
func (h *harness) writeGrantCount(key *kms.KeyMetadata, n int) {
	h.t.Helper()
	place := "aws/" + account + "/" + testRegion + "/grant-count/" + key.KeyId
	content := fmt.Sprintf(`{"partition":"aws","account":%q,"region":%q,"keyId":%q,"grants":%d}`, account, testRegion, key.KeyId, n)
	header, err := h.store.Header(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	envelope := []byte{1, 11, 0, 1, 0, 0, 0, 1}
	envelope = binary.BigEndian.AppendUint64(envelope, header.Revision)
	envelope = appendSized(envelope, content)
	input := appendSized([]byte("kms11 store record 1\x00"), header.StoreID)
	input = append(appendSized(input, place), envelope...)
	mac, err := h.domain.MAC(h.t.Context(), 1, input)
	if err != nil {
		h.t.Fatal(err)
	}
	err = h.engine.Update(h.t.Context(), func(tx keystore.EngineTx) error { return tx.Put([]byte(place), append(envelope, mac...)) })
	if err != nil {
		h.t.Fatal(err)
	}
}

func appendSized(to []byte, text string) []byte {
	return append(binary.BigEndian.AppendUint32(to, uint32(len(text))), text...)
}

func TestGrantQuota(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	request := in{"KeyId": key.KeyId, "Name": "last", "GranteePrincipal": "arn:aws:iam::111122223333:root", "Operations": []string{"Encrypt"}}
	h.writeGrantCount(key, maxGrants-1)
	last := h.grant(request)
	if again := h.grant(request); again.GrantId != last.GrantId {
		t.Error("a repeated request made another grant")
	}
	request["Name"] = "one-more"
	const full = "Grants per key quota for this account in this region is 50000, current usage is 50000."
	_, err := h.invoke("CreateGrant", request)
	wantError(t, err, kms.LimitExceededException, full)
	request["DryRun"] = true
	_, err = h.invoke("CreateGrant", request)
	wantError(t, err, kms.LimitExceededException, full)
	delete(request, "DryRun")
	h.must("RevokeGrant", in{"KeyId": key.KeyId, "GrantId": last.GrantId})
	h.grant(request)
}

// BenchmarkDecision is what a grant adds to the decision about a request.
func BenchmarkDecision(b *testing.B) {
	for _, grants := range []int{1, 10, 1_000, maxGrants} {
		h := newHarness(b)
		key := h.createKey(nil)
		h.manyGrants(key, grants, 1)
		k, err := h.service.resolve(b.Context(), &Call{Operation: "Encrypt", Region: testRegion, Caller: RootCaller("aws", account)}, key.KeyId)
		if err != nil {
			b.Fatal(err)
		}
		for name, call := range map[string]*Call{"granted": h.userCall(account, "u0"), "no grant": h.userCall(account, "nobody"), "policy": h.call(account)} {
			by := byGrant{context: map[string]string{"n": fmt.Sprint(grants - 1)}}
			b.Run(fmt.Sprintf("%s, %d grants", name, grants), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := h.service.authorizeUse(b.Context(), call, "Encrypt", k, by); (err == nil) != (name != "no grant") {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
