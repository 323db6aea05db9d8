package kms

import (
	"errors"
	"strings"
	"testing"
)

// keyStates is the Developer Guide's table with the footnotes that count here, as a user of the
// guide reads it: a row for one or more operations, then Enabled, Disabled, PendingDeletion (and
// PendingReplicaDeletion), PendingImport, Unavailable, Creating, Updating. "7/1" is 7 where the
// key's origin gives it and otherwise 1. That an enabled key in a custom key store makes no key pairs
// is from the API Reference.
const keyStates = `
Encrypt Decrypt ReEncrypt GenerateDataKey GenerateDataKeyWithoutPlaintext | ok 1 3 5 11 14 ok
GenerateDataKeyPair GenerateDataKeyPairWithoutPlaintext                   | 7 1 3 5 7/11 14 ok
Sign Verify GenerateMac VerifyMac DeriveSharedSecret Encapsulate Decapsulate | ok 1 3 5 11 14 ok
GetPublicKey                                                | ok ok 3 ok 11 14 ok
CreateGrant                                                 | ok 1 3 5 ok 14 ok
DescribeKey GetKeyPolicy ListKeyPolicies PutKeyPolicy       | ok ok ok ok ok ok ok
ListAliases ListGrants ListResourceTags DeleteAlias         | ok ok ok ok ok ok ok
RetireGrant RevokeGrant GetKeyLastUsage                     | ok ok ok ok ok ok ok
CreateAlias TagResource UntagResource UpdateKeyDescription  | ok ok 3 ok ok ok ok
UpdateAlias                                                 | ok ok 3 ok ok ok ok
EnableKey DisableKey                                        | ok ok 3 5 ok 14 15
EnableKeyRotation DisableKeyRotation                        | 7 7/1 7/3 6 7/11 14 7
GetKeyRotationStatus                                        | 7 7 7 6 7 7 7
ListKeyRotations                                            | 7 7 7 ok 7 7 7
RotateKeyOnDemand                                           | 7 7/1 7/3 5 7/11 14 7
GetParametersForImport                                      | 9 9 9/3 ok 9/11 14 15
ImportKeyMaterial                                           | 9 9 9/3 ok 9/11 14 ok
DeleteImportedKeyMaterial                                   | 9 9 9 ok 9/11 14 15
ScheduleKeyDeletion                                         | ok ok 3 ok ok ok 15
CancelKeyDeletion                                           | 4 4 ok 4 4 4 4
ReplicateKey                                                | ok 1 3 5 11 14 15
UpdatePrimaryRegion                                         | ok 1 3 5 11 14 ok
`

// footnote gives the error of a footnote for a key, or nothing where it does not apply.
func footnote(number string, key StateFacts) string {
	custom := key.Origin == OriginTypeAwsCloudhsm || key.Origin == OriginTypeExternalKeyStore
	deletion := "pending deletion."
	if key.State == KeyStatePendingReplicaDeletion {
		deletion = "pending replica deletion."
	}
	origin := "UnsupportedOperationException: the-key origin is " + string(key.Origin) + " which is not valid for this operation."
	switch {
	case number == "6", number == "7" && custom, number == "9" && key.Origin != OriginTypeExternal:
		return origin
	}
	return map[string]string{
		"1":  "DisabledException: the-key is disabled.",
		"3":  "KMSInvalidStateException: the-key is " + deletion,
		"4":  "KMSInvalidStateException: the-key is not pending deletion.",
		"5":  "KMSInvalidStateException: the-key is pending import.",
		"11": "KMSInvalidStateException: the-key is unavailable.",
		"14": "KMSInvalidStateException: the-key is creating.",
		"15": "KMSInvalidStateException: the-key is updating.",
	}[number]
}

func TestCheckState(t *testing.T) {
	states := [][]KeyState{{KeyStateEnabled}, {KeyStateDisabled}, {KeyStatePendingDeletion, KeyStatePendingReplicaDeletion},
		{KeyStatePendingImport}, {KeyStateUnavailable}, {KeyStateCreating}, {KeyStateUpdating}}
	seen := map[string]bool{}
	for line := range strings.SplitSeq(strings.TrimSpace(keyStates), "\n") {
		ops, cells, _ := strings.Cut(line, "|")
		for _, op := range strings.Fields(ops) {
			seen[op] = true
			for column, notes := range strings.Fields(cells) {
				for _, state := range states[column] {
					for _, origin := range ruleOriginType.values {
						key := StateFacts{ARN: "the-key", State: state, Origin: OriginType(origin)}
						want := ""
						for number := range strings.SplitSeq(notes, "/") {
							if want == "" {
								want = footnote(number, key)
							}
						}
						got := ""
						if err := CheckState(op, key); err != nil {
							got = err.Error()
						}
						if got != want {
							t.Errorf("%s, %s, %s:\n got %s\nwant %s", op, state, origin, got, want)
						}
					}
				}
			}
		}
	}
	for _, op := range Operations() {
		// ListAliases may name a key, and DeleteAlias finds one; the other operations without a
		// key identifier work on none.
		works := op.KeyIDs != KeyIDNone || op.Name == "DeleteAlias"
		if works != seen[op.Name] {
			t.Errorf("%s: works on a key is %v, in the table is %v", op.Name, works, seen[op.Name])
		}
	}
}

func TestCheckStateFailsClosed(t *testing.T) {
	for op, state := range map[string]KeyState{"Encrypt": "", "Decrypt": "Enabledish", "NoSuchOperation": KeyStateEnabled, "ListKeys": KeyStateEnabled} {
		err := CheckState(op, StateFacts{ARN: "the-key", State: state, Origin: OriginTypeAwsKms})
		if !errors.Is(err, KMSInternalException) || AsError(err).Message != "" {
			t.Errorf("%s in state %q: %v", op, state, err)
		}
	}
}
