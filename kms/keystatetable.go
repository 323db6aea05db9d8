package kms

import "slices"

// The columns of the key state table.
const (
	enabled = iota
	disabled
	pendingDeletion
	pendingImport
	unavailable
	creating
	updating
	columns
)

// stateColumns gives each state its column. Nothing writes to it.
var stateColumns = map[KeyState]int{
	KeyStateEnabled:                enabled,
	KeyStateDisabled:               disabled,
	KeyStatePendingDeletion:        pendingDeletion,
	KeyStatePendingReplicaDeletion: pendingDeletion,
	KeyStatePendingImport:          pendingImport,
	KeyStateUnavailable:            unavailable,
	KeyStateCreating:               creating,
	KeyStateUpdating:               updating,
}

// The footnotes, with the numbers of the table "Key states of AWS KMS keys" in the Developer
// Guide (2026). Where the guide gives two errors for one case, the recorded one is used: 3, not 2.
// Note 8 is 3 for keys that passed 9; note 10 is 3, because only UpdateAlias's new target counts;
// 12 and 13 explain without forbidding more.
var (
	note1  = whenState(DisabledException, "disabled")
	note3  = []note{whenReplicas, whenState(KMSInvalidStateException, "pending deletion")}
	note4  = whenState(KMSInvalidStateException, "not pending deletion")
	note5  = whenState(KMSInvalidStateException, "pending import")
	note6  = whenOrigin(func(StateFacts) bool { return true })
	note7  = whenOrigin(StateFacts.inCustomStore)
	note9  = whenOrigin(func(f StateFacts) bool { return f.Origin != OriginTypeExternal })
	note11 = whenState(KMSInvalidStateException, "unavailable")
	note14 = whenState(KMSInvalidStateException, "creating")
	note15 = whenState(KMSInvalidStateException, "updating")

	// whenReplicas is note 3 for a primary key whose replicas are being deleted.
	whenReplicas = note{
		applies: func(f StateFacts) bool { return f.State == KeyStatePendingReplicaDeletion },
		code:    KMSInvalidStateException,
		text:    "%s is %s.",
		detail:  func(StateFacts) any { return "pending replica deletion" },
	}
)

// cell is the notes of one operation in one state; the first that applies is the error, and with
// none the operation is allowed.
type cell []note

// row has a cell for each column.
type row [columns]cell

// stateRules is the table by operation. Nothing writes to it.
var stateRules = buildStateRules()

// buildStateRules expands the rows, which stand for one or more operations each.
func buildStateRules() map[string]*row {
	rules := make(map[string]*row, len(operations))
	for _, group := range []struct {
		ops []string
		row row
	}{
		{ops: []string{"Encrypt", "Decrypt", "ReEncrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext"},
			row: row{disabled: {note1}, pendingDeletion: note3, pendingImport: {note5}, unavailable: {note11},
				creating: {note14}}},
		// The guide gives note 7 for unavailable keys only, but no key of a custom key store makes key pairs
		// (API Reference, GenerateDataKeyPair).
		{ops: []string{"GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext"},
			row: row{enabled: {note7}, disabled: {note1}, pendingDeletion: note3, pendingImport: {note5},
				unavailable: {note7, note11}, creating: {note14}}},
		// Asymmetric and HMAC keys are never in a custom key store, so never unavailable; note 11
		// stands here and below for what cannot be.
		{ops: []string{"Sign", "Verify", "GenerateMac", "VerifyMac", "DeriveSharedSecret", "Encapsulate", "Decapsulate"},
			row: row{disabled: {note1}, pendingDeletion: note3, pendingImport: {note5}, unavailable: {note11},
				creating: {note14}}},
		{ops: []string{"GetPublicKey"},
			row: row{pendingDeletion: note3, unavailable: {note11}, creating: {note14}}},
		{ops: []string{"CreateGrant"},
			row: row{disabled: {note1}, pendingDeletion: note3, pendingImport: {note5}, creating: {note14}}},
		{ops: []string{"DescribeKey", "GetKeyPolicy", "ListKeyPolicies", "PutKeyPolicy", "ListAliases", "ListGrants",
			"ListResourceTags", "DeleteAlias", "RetireGrant", "RevokeGrant", "GetKeyLastUsage"}},
		{ops: []string{"CreateAlias", "TagResource", "UntagResource", "UpdateKeyDescription", "UpdateAlias"},
			row: row{pendingDeletion: note3}},
		{ops: []string{"EnableKey", "DisableKey"},
			row: row{pendingDeletion: note3, pendingImport: {note5}, creating: {note14}, updating: {note15}}},
		{ops: []string{"EnableKeyRotation", "DisableKeyRotation"},
			row: row{enabled: {note7}, disabled: {note7, note1}, pendingDeletion: after(note7, note3),
				pendingImport: {note6}, unavailable: {note7, note11}, creating: {note14}, updating: {note7}}},
		{ops: []string{"GetKeyRotationStatus"},
			row: row{enabled: {note7}, disabled: {note7}, pendingDeletion: {note7}, pendingImport: {note6},
				unavailable: {note7}, creating: {note7}, updating: {note7}}},
		{ops: []string{"ListKeyRotations"},
			row: row{enabled: {note7}, disabled: {note7}, pendingDeletion: {note7},
				unavailable: {note7}, creating: {note7}, updating: {note7}}},
		{ops: []string{"RotateKeyOnDemand"},
			row: row{enabled: {note7}, disabled: {note7, note1}, pendingDeletion: after(note7, note3),
				pendingImport: {note5}, unavailable: {note7, note11}, creating: {note14}, updating: {note7}}},
		{ops: []string{"GetParametersForImport"},
			row: row{enabled: {note9}, disabled: {note9}, pendingDeletion: after(note9, note3),
				unavailable: {note9, note11}, creating: {note14}, updating: {note15}}},
		{ops: []string{"ImportKeyMaterial"},
			row: row{enabled: {note9}, disabled: {note9}, pendingDeletion: after(note9, note3),
				unavailable: {note9, note11}, creating: {note14}}},
		{ops: []string{"DeleteImportedKeyMaterial"},
			row: row{enabled: {note9}, disabled: {note9}, pendingDeletion: {note9},
				unavailable: {note9, note11}, creating: {note14}, updating: {note15}}},
		{ops: []string{"ScheduleKeyDeletion"},
			row: row{pendingDeletion: note3, updating: {note15}}},
		{ops: []string{"CancelKeyDeletion"},
			row: row{enabled: {note4}, disabled: {note4}, pendingImport: {note4}, unavailable: {note4},
				creating: {note4}, updating: {note4}}},
		{ops: []string{"ReplicateKey"},
			row: row{disabled: {note1}, pendingDeletion: note3, pendingImport: {note5}, unavailable: {note11},
				creating: {note14}, updating: {note15}}},
		{ops: []string{"UpdatePrimaryRegion"},
			row: row{disabled: {note1}, pendingDeletion: note3, pendingImport: {note5}, unavailable: {note11},
				creating: {note14}}},
	} {
		for _, op := range group.ops {
			rules[op] = &group.row
		}
	}
	return rules
}

func after(first note, rest []note) cell {
	return slices.Concat(cell{first}, rest)
}
