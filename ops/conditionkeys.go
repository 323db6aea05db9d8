package ops

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/kms11/kms11/policy"
)

// conditionKey is a row of the table of condition keys.
type conditionKey struct {
	// name is AWS's, with what its author chooses in angle brackets: kms:EncryptionContext:<key>.
	name string
	// kind is the type of its values: the operators that fit.
	kind string
	// actions are those whose requests have the key; nil: see scope.
	actions []string
	scope   scopeOfKey
	// multi keys may have several values. Use them with ForAllValues or ForAnyValue.
	multi bool
	// identityOnly keys are not known to key policies.
	identityOnly bool
	// values computes the values for a question that the key belongs to. The part is what stands in
	// the place of the angle brackets.
	values func(q *question, part string) policy.Values
}

// scopeOfKey says of which actions the requests have a key.
type scopeOfKey int

const (
	actionsOnly  scopeOfKey = iota // those that are listed
	anyAction                      // all
	anyKeyAction                   // those on a KMS key
	keyAndListed                   // those on a KMS key and those that are listed
)

// on reports whether the action that is asked about has the key.
func (c *conditionKey) on(q *question) bool {
	ofKey := q.key.KeyRecord != nil
	switch c.scope {
	case anyAction:
		return true
	case anyKeyAction:
		return ofKey
	case keyAndListed:
		if ofKey {
			return true
		}
	}
	return slices.Contains(c.actions, q.action)
}

// conditionKeysByName is the table by the part of the names that is fixed, in lower case, as
// policy.Key has it.
func conditionKeysByName() map[string]*conditionKey {
	rows := conditionKeys()
	index := make(map[string]*conditionKey, len(rows))
	for i := range rows {
		index[policy.NewKey(rows[i].name).Name] = &rows[i]
	}
	return index
}

// The actions of several rows. Nothing writes to them.
var (
	encrypting = []string{"Encrypt", "Decrypt", "ReEncryptFrom", "ReEncryptTo",
		"GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext"}
	contextual = append([]string{"CreateGrant"}, encrypting...)
	byAlias    = append([]string{"DeriveSharedSecret", "DescribeKey", "GenerateMac", "GetPublicKey", "Sign", "Verify", "VerifyMac",
		"Encapsulate", "Decapsulate"}, encrypting...)
	pairs      = []string{"GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext"}
	signing    = []string{"Sign", "Verify"}
	toEnclaves = []string{"Decrypt", "DeriveSharedSecret", "GenerateDataKey", "GenerateDataKeyPair", "GenerateRandom"}
	creating   = []string{"CreateKey"}
	granting   = []string{"CreateGrant"}
	tagging    = []string{"CreateKey", "ReplicateKey", "TagResource", "UntagResource"}
	taggingNew = []string{"CreateKey", "ReplicateKey", "TagResource"}
)

// conditionKeys is the table of all condition keys that a request can have (AWS KMS Developer Guide,
// "AWS KMS condition keys"; IAM User Guide, "AWS global condition context keys"). A parameter that a
// request leaves out has its default. docs/policies.md shows the table.
func conditionKeys() []conditionKey {
	return []conditionKey{
		// The request's parameters.
		{name: "kms:BypassPolicyLockoutSafetyCheck", kind: "Bool", actions: []string{"CreateKey", "PutKeyPolicy"}, values: bypasses},
		{name: "kms:DataKeyPairSpec", kind: "String", actions: pairs, values: pairSpec},
		{name: "kms:EncryptionAlgorithm", kind: "String", actions: encrypting, values: encryptionAlgorithmOf},
		{name: "kms:EncryptionContext:<key>", kind: "String", actions: contextual, values: contextValue},
		{name: "kms:EncryptionContextKeys", kind: "String", actions: contextual, multi: true, values: contextKeys},
		{name: "kms:ExpirationModel", kind: "String", actions: []string{"ImportKeyMaterial"}, values: expirationModel},
		{name: "kms:GrantConstraintSourceArn", kind: "ARN", actions: granting, values: grantConstraintSource},
		{name: "kms:GrantConstraintType", kind: "String", actions: granting, multi: true, values: grantConstraintTypes},
		{name: "kms:GranteePrincipal", kind: "String", actions: granting, values: grantParty(0)},
		{name: "kms:GranteeServicePrincipal", kind: "String", actions: granting, values: grantParty(1)},
		{name: "kms:GrantIsForAWSResource", kind: "Bool", actions: []string{"CreateGrant", "ListGrants", "RevokeGrant"}, values: sentByService},
		{name: "kms:GrantOperations", kind: "String", actions: granting, multi: true, values: operationsOfGrant},
		{name: "kms:KeyAgreementAlgorithm", kind: "String", actions: []string{"DeriveSharedSecret"}, values: agreementAlgorithm},
		{name: "kms:MacAlgorithm", kind: "String", actions: []string{"GenerateMac", "VerifyMac"}, values: macAlgorithm},
		{name: "kms:MessageType", kind: "String", actions: signing, values: messageType},
		{name: "kms:PrimaryRegion", kind: "String", actions: []string{"UpdatePrimaryRegion"}, values: primaryRegion},
		{name: "kms:RecipientAttestation:<measurement>", kind: "String", actions: toEnclaves, values: attestedMeasurement},
		{name: "kms:ReEncryptOnSameKey", kind: "Bool", actions: []string{"ReEncryptFrom", "ReEncryptTo"}, values: onSameKey},
		{name: "kms:ReplicaRegion", kind: "String", actions: []string{"ReplicateKey"}, values: replicaRegion},
		{name: "kms:RequestAlias", kind: "String", actions: byAlias, values: requestAlias},
		{name: "kms:RetiringPrincipal", kind: "String", actions: granting, values: grantParty(2)},
		{name: "kms:RetiringServicePrincipal", kind: "String", actions: granting, values: grantParty(3)},
		{name: "kms:RotationPeriodInDays", kind: "Numeric", actions: []string{"EnableKeyRotation"}, values: rotationPeriod},
		{name: "kms:ScheduleKeyDeletionPendingWindowInDays", kind: "Numeric", actions: []string{"ScheduleKeyDeletion"}, values: pendingWindow},
		{name: "kms:SigningAlgorithm", kind: "String", actions: signing, values: signingAlgorithm},
		{name: "kms:ValidTo", kind: "Date", actions: []string{"ImportKeyMaterial"}, values: validTo},
		{name: "kms:WrappingAlgorithm", kind: "String", actions: []string{"GetParametersForImport"}, values: wrappingAlgorithm},
		{name: "kms:WrappingKeySpec", kind: "String", actions: []string{"GetParametersForImport"}, values: wrappingKeySpec},

		// The key, or for CreateKey the key that is to be.
		{name: "kms:CustomerMasterKeySpec", kind: "String", scope: keyAndListed, actions: creating, values: keySpec},
		{name: "kms:CustomerMasterKeyUsage", kind: "String", scope: keyAndListed, actions: creating, values: keyUsage},
		{name: "kms:KeyOrigin", kind: "String", scope: keyAndListed, actions: creating, values: keyOrigin},
		{name: "kms:KeySpec", kind: "String", scope: keyAndListed, actions: creating, values: keySpec},
		{name: "kms:KeyUsage", kind: "String", scope: keyAndListed, actions: creating, values: keyUsage},
		{name: "kms:MultiRegion", kind: "Bool", scope: keyAndListed, actions: creating, values: multiRegion},
		{name: "kms:MultiRegionKeyType", kind: "String", scope: keyAndListed, actions: creating, values: multiRegionType},
		{name: "kms:ResourceAliases", kind: "String", scope: anyKeyAction, multi: true, identityOnly: true, values: resourceAliases},
		{name: "kms:TrailingDaysWithoutKeyUsage", kind: "Numeric", actions: []string{"DisableKey", "ScheduleKeyDeletion"}, values: daysWithoutUse},
		{name: "aws:ResourceAccount", kind: "String", scope: anyAction, values: resourceAccount},
		{name: "aws:ResourceTag/<key>", kind: "String", scope: anyKeyAction, values: resourceTag},

		// Tags in the request.
		{name: "aws:RequestTag/<key>", kind: "String", actions: taggingNew, values: requestTag},
		{name: "aws:TagKeys", kind: "String", actions: tagging, multi: true, values: tagKeys},

		// Who asks.
		{name: "aws:PrincipalAccount", kind: "String", scope: anyAction, values: callerAccount},
		{name: "aws:PrincipalArn", kind: "ARN", scope: anyAction, values: principalARNOf},
		{name: "aws:PrincipalIsAWSService", kind: "Bool", scope: anyAction, values: fromService},
		{name: "aws:PrincipalServiceName", kind: "String", scope: anyAction, values: principalService},
		{name: "aws:PrincipalServiceNamesList", kind: "String", scope: anyAction, multi: true, values: principalServices},
		{name: "aws:PrincipalTag/<key>", kind: "String", scope: anyAction, values: principalTag},
		{name: "aws:PrincipalType", kind: "String", scope: anyAction, values: principalType},
		{name: "aws:userid", kind: "String", scope: anyAction, values: userID},
		{name: "aws:username", kind: "String", scope: anyAction, values: userName},
		{name: "kms:CallerAccount", kind: "String", scope: keyAndListed, actions: []string{"ConnectCustomKeyStore", "CreateCustomKeyStore",
			"DeleteCustomKeyStore", "DescribeCustomKeyStores", "DisconnectCustomKeyStore", "UpdateCustomKeyStore"}, values: callerAccount},

		// For whom a service asks.
		{name: "aws:SourceAccount", kind: "String", scope: anyAction, values: sourceAccount},
		{name: "aws:SourceArn", kind: "ARN", scope: anyAction, values: sourceARN},
		{name: "aws:ViaAWSService", kind: "Bool", scope: anyAction, values: onBehalf},
		{name: "kms:ViaService", kind: "String", scope: anyKeyAction, values: viaService},

		// How and when the request came.
		{name: "aws:CurrentTime", kind: "Date", scope: anyAction, values: currentTime},
		{name: "aws:EpochTime", kind: "Date, Numeric", scope: anyAction, values: epochTime},
		{name: "aws:RequestedRegion", kind: "String", scope: anyAction, values: requestedRegion},
		{name: "aws:SecureTransport", kind: "Bool", scope: anyAction, values: secureTransport},
		{name: "aws:SourceIp", kind: "IP address", scope: anyAction, values: sourceIP},
		{name: "aws:UserAgent", kind: "String", scope: anyAction, values: userAgent},
	}
}

// foldedValue gives the values of pairs whose key is the part, in any case: condition keys are not
// case-sensitive, to the last letter. Seldom there is more than one.
//
// Two keys are the same where their lower case is, as for package policy and for tags of sessions. By
// strings.EqualFold "co\u017ft" would be "cost" too, which a rule about setting the tag cost does not
// see.
func foldedValue[Pairs any](part string, pairs Pairs, each func(Pairs, func(key, value string))) policy.Values {
	var first string
	var all []string
	n := 0
	each(pairs, func(key, value string) {
		if key != part && !sameFolded(key, part) {
			return
		}
		if n++; n == 1 {
			first = value
			return
		}
		if n == 2 {
			all = append(all, first)
		}
		all = append(all, value)
	})
	switch n {
	case 0:
		return policy.Values{}
	case 1:
		return policy.One(first)
	}
	return policy.Many(all)
}

// sameFolded says whether two keys are the same in lower case.
func sameFolded(a, b string) bool {
	if isASCII(a) && isASCII(b) {
		return strings.EqualFold(a, b) // which allocates nothing
	}
	//lint:ignore SA6005 EqualFold takes letters for the same that lower case does not
	return strings.ToLower(a) == strings.ToLower(b)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func boolValue(b bool) policy.Values {
	if b {
		return policy.One("true")
	}
	return policy.One("false")
}
