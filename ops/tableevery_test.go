package ops

import (
	"slices"
	"strings"
	"testing"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// An everyRow is an operation that manages a key: what the Developer Guide's table "Key states"
// (2026) says of it in the notation of cryptoStates, and a request that succeeds.
type everyRow struct {
	op     string
	states string
	origin string // of the key; AWS_KMS unless set
	multi  bool   // the key is a multi-Region primary key with a replica
	// setup prepares the key and gives what the request needs besides.
	setup func(k *keyring, key *kms.KeyMetadata) in
	// fits says which kinds of keys the operation is for, nil all; refusal is the answer for others.
	fits    func(row kindRow) bool
	refusal func(key *kms.KeyMetadata) fault
}

func bare(*keyring, *kms.KeyMetadata) in { return in{} }

func with(request in) func(*keyring, *kms.KeyMetadata) in {
	return func(*keyring, *kms.KeyMetadata) in { return request }
}

// everyRows are the operations that testCryptoStates does not have.
func everyRows() []everyRow {
	const (
		always   = "ok ok ok ok ok ok ok"
		marking  = "ok ok 3 ok ok ok ok"
		rotating = "ok 1 3 6 7 14 ok"
	)
	alias := func(k *keyring, key *kms.KeyMetadata) in {
		k.must("CreateAlias", in{"AliasName": "alias/every", "TargetKeyId": key.KeyId})
		return in{"AliasName": "alias/every"}
	}
	grant := func(k *keyring, key *kms.KeyMetadata) in {
		made := k.must("CreateGrant", in{"KeyId": key.KeyId, "GranteePrincipal": "arn:aws:iam::" + stranger + ":root", "Operations": []string{"DescribeKey"}})
		return in{"GrantId": made.(*kms.CreateGrantResponse).GrantId}
	}
	rotates := func(row kindRow) bool { return row.spec == symmetricDefault }
	noText := func(*kms.KeyMetadata) fault { return fault{kms.UnsupportedOperationException, ""} }
	never := func(kindRow) bool { return false }
	notImported := func(key *kms.KeyMetadata) fault {
		return fault{kms.UnsupportedOperationException, key.Arn + " origin is AWS_KMS which is not valid for this operation."}
	}
	notPrimary := func(key *kms.KeyMetadata) fault {
		return fault{kms.UnsupportedOperationException, key.Arn + " is not a multi-region primary key."}
	}
	parameters := with(in{"WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"})
	bring := func(k *keyring, key *kms.KeyMetadata) in {
		request := in{"ImportToken": []byte("x"), "EncryptedKeyMaterial": []byte("x"), "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}
		if key.Origin == kms.OriginTypeExternal {
			given := k.must("GetParametersForImport", and(parameters(k, key), "KeyId", key.KeyId)).(*kms.GetParametersForImportResponse)
			request["ImportToken"], request["EncryptedKeyMaterial"] = given.ImportToken, wrapFor(k.t, given.PublicKey, "RSAES_OAEP_SHA_256", everyMaterial())
		}
		return request
	}
	return []everyRow{
		{op: "CancelKeyDeletion", states: "4 4 ok 4 4 4 4", setup: bare},
		{op: "CreateAlias", states: marking, setup: with(in{"AliasName": "alias/every"})},
		{op: "CreateGrant", states: "ok 1 3 5 ok 14 ok", setup: with(in{"GranteePrincipal": "arn:aws:iam::" + stranger + ":root", "Operations": []string{"DescribeKey"}})},
		{op: "DeleteAlias", states: always, setup: alias},
		{op: "DeleteImportedKeyMaterial", states: "9 9 9 - - 14 15", setup: bare, fits: never, refusal: notImported},
		{op: "DeleteImportedKeyMaterial", states: "ok ok ok ok - 14 15", origin: "EXTERNAL", setup: bare},
		{op: "DisableKeyRotation", states: rotating, setup: bare, fits: rotates, refusal: noText},
		{op: "EnableKeyRotation", states: rotating, setup: bare, fits: rotates, refusal: noText},
		{op: "GetKeyLastUsage", states: always, setup: bare},
		{op: "GetKeyPolicy", states: always, setup: bare},
		{op: "GetKeyRotationStatus", states: "ok ok ok 6 7 ok ok", setup: bare},
		{op: "GetParametersForImport", states: "9 9 9 - 9 14 15", setup: parameters, fits: never, refusal: notImported},
		{op: "GetParametersForImport", states: "ok ok 3 ok - 14 15", origin: "EXTERNAL", setup: parameters},
		{op: "ImportKeyMaterial", states: "9 9 9 - 9 14 -", setup: bring, fits: never, refusal: notImported},
		{op: "ImportKeyMaterial", states: "ok ok 3 ok - 14 ok", origin: "EXTERNAL", setup: bring},
		{op: "ListAliases", states: always, setup: bare},
		{op: "ListGrants", states: always, setup: bare},
		{op: "ListKeyPolicies", states: always, setup: bare},
		{op: "ListKeyRotations", states: "ok ok ok ok 7 ok ok", setup: bare, fits: rotates, refusal: noText},
		{op: "ListResourceTags", states: always, setup: bare},
		{op: "PutKeyPolicy", states: always, setup: with(in{"Policy": statement(everybody)})},
		{op: "ReplicateKey", states: "ok 1 3 5 - 14 15", multi: true, setup: with(in{"ReplicaRegion": oregon}), fits: never, refusal: notPrimary},
		{op: "RetireGrant", states: always, setup: grant},
		{op: "RevokeGrant", states: always, setup: grant},
		{op: "RotateKeyOnDemand", states: "ok 1 3 5 7 14 ok", setup: bare, fits: rotates, refusal: noText},
		{op: "ScheduleKeyDeletion", states: "ok ok 3 ok ok ok 15", setup: bare},
		{op: "TagResource", states: marking, setup: with(in{"Tags": tag("a=b")})},
		{op: "UntagResource", states: marking, setup: with(in{"TagKeys": []string{"a"}})},
		{op: "UpdateAlias", states: marking, setup: func(k *keyring, key *kms.KeyMetadata) in {
			other := k.createKey(nil)
			if key.KeySpec != symmetricDefault { // the alias has to come from a key of the same kind
				other = key
			}
			return alias(k, other)
		}},
		{op: "UpdatePrimaryRegion", states: "ok 1 3 5 - 14 ok", multi: true, setup: with(in{"PrimaryRegion": ireland}), fits: never, refusal: notPrimary},
	}
}

// and gives a request with one more member.
func and(request in, member string, value any) in { return use{request: request}.but(member, value) }

// everyMaterial is what keys of these tests import.
func everyMaterial() []byte { return []byte("0123456789abcdef0123456789abcdef") }

// keyless are the operations that concern no single key, so that no state and no kind of key is in
// their way.
func keyless() []string {
	return []string{"CreateKey", "GenerateRandom", "ListKeys", "ListRetirableGrants"}
}

// elsewhere are the operations that have tables of their own: those of custom key stores, and of kinds
// of keys that SoftHSM2 does not have.
func elsewhere() []string {
	return []string{"ConnectCustomKeyStore", "CreateCustomKeyStore", "DeleteCustomKeyStore", "DescribeCustomKeyStores",
		"DisconnectCustomKeyStore", "UpdateCustomKeyStore", "Decapsulate", "Encapsulate"}
}

// memberOf is how a request of an operation names its key.
func memberOf(op string) string {
	if strings.HasSuffix(op, "Alias") && op != "DeleteAlias" {
		return "TargetKeyId"
	}
	return "KeyId"
}

// testEveryOperation takes the operations that manage a key through every state that it can be in and
// through every kind of key. With the other tables of this file's kind every operation is walked.
func testEveryOperation(t *testing.T, k *keyring) {
	walked := slices.Concat(keyless(), elsewhere())
	for _, u := range k.uses() {
		walked = append(walked, u.op)
	}
	for _, row := range everyRows() {
		walked = append(walked, row.op)
		t.Run("states of "+row.op+" "+row.origin, func(t *testing.T) { k.on(t).walkStates(row) })
		t.Run("kinds for "+row.op, func(t *testing.T) { k.on(t).walkKinds(row) })
	}
	slices.Sort(walked)
	walked = slices.Compact(walked)
	var all []string
	for _, operation := range kms.Operations() {
		all = append(all, operation.Name)
	}
	if !slices.Equal(walked, all) {
		t.Errorf("these operations are walked: %v\nof these: %v", walked, all)
	}
	// What concerns no key: a key in every state and of every kind is there by now.
	for op, request := range map[string]in{"CreateKey": {}, "GenerateRandom": {"NumberOfBytes": 1}, "ListKeys": {},
		"ListRetirableGrants": {"RetiringPrincipal": "arn:aws:iam::" + account + ":root"}} {
		k.allowed(op, request)
	}
}

// everyState are the states that a key's record can be put in, by their columns of the table.
var everyState = []struct {
	state  kms.KeyState
	column int
}{
	{"Enabled", 0}, {"Disabled", 1}, {"PendingDeletion", 2}, {"PendingReplicaDeletion", 2}, {"PendingImport", 3},
	{"Unavailable", 4}, {"Creating", 5}, {"Updating", 6},
}

func (k *keyring) walkStates(row everyRow) {
	k.t.Helper()
	for _, s := range everyState {
		cell := strings.Fields(row.states)[s.column]
		if cell == "-" {
			continue
		}
		key := k.keyFor(row)
		request := row.setup(k, key)
		if row.op != "DeleteAlias" {
			request = and(request, memberOf(row.op), key.KeyId)
		}
		k.editRecord(key.KeyId, func(r *keystore.KeyRecord) {
			setState(s.state, k.clock.Now())(r)
			switch s.state {
			case "PendingImport":
				r.Origin = "EXTERNAL"
				for i := range r.Materials {
					r.Materials[i].Blob = nil
				}
			case "Unavailable":
				r.Origin = "AWS_CLOUDHSM"
			}
		})
		want := managementFootnote(cell, key, s.state)
		if (want == nil) != (cell == "ok") {
			k.t.Fatalf("no footnote %s", cell)
		}
		_, err := k.invoke(row.op, request)
		if want != nil {
			wantError(k.t, err, want.code, want.text)
		} else if err != nil {
			k.t.Errorf("%s in the state %s: %v", row.op, s.state, err)
		}
		_, _ = k.invoke("DeleteAlias", in{"AliasName": "alias/every"})
	}
}

// keyFor makes a key that a row's operation works on.
func (k *keyring) keyFor(row everyRow) *kms.KeyMetadata {
	k.t.Helper()
	switch {
	case row.multi:
		return k.multiKey(nil, ireland)
	case row.origin == "EXTERNAL":
		key := k.external(nil)
		if _, err := k.at(testRegion).bring(key.KeyId, everyMaterial(), nil); err != nil {
			k.t.Fatal(err)
		}
		return k.describe(key.KeyId)
	}
	return k.createKey(nil)
}

// managementFootnote is footnote with the ones that only these operations have.
func managementFootnote(number string, key *kms.KeyMetadata, state kms.KeyState) *fault {
	origin := func(origin string) *fault {
		return &fault{kms.UnsupportedOperationException, key.Arn + " origin is " + origin + " which is not valid for this operation."}
	}
	switch {
	case number == "4":
		return &fault{kms.KMSInvalidStateException, key.Arn + " is not pending deletion."}
	case number == "6":
		return origin("EXTERNAL")
	case number == "9" && state == "Unavailable":
		return origin("AWS_CLOUDHSM")
	case number == "9":
		return origin("AWS_KMS")
	}
	return footnote(number, key.Arn, state)
}

// walkKinds takes an operation through every kind of key.
func (k *keyring) walkKinds(row everyRow) {
	k.t.Helper()
	if row.origin != "" {
		return // importing has its own table of kinds
	}
	for _, kind := range kindRows() {
		key := k.keys[kind.kind]
		k.with(key.KeyId, asItIs, func() {
			if row.op == "CancelKeyDeletion" {
				k.must("ScheduleKeyDeletion", in{"KeyId": key.KeyId})
			}
			request := row.setup(k, key)
			if row.op != "DeleteAlias" {
				request = and(request, memberOf(row.op), key.KeyId)
			}
			_, err := k.invoke(row.op, request)
			if row.fits == nil || row.fits(kind) {
				if err != nil {
					k.t.Errorf("%s for a key %s %s: %v", row.op, kind.spec, kind.usage, err)
				}
			} else {
				want := row.refusal(key)
				wantError(k.t, err, want.code, want.text)
			}
			_, _ = k.invoke("DeleteAlias", in{"AliasName": "alias/every"})
		})
	}
}
