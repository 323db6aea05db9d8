package ops

import (
	"slices"
	"strings"
	"testing"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

func setPolicy(text string) func(*keystore.KeyRecord) {
	return func(r *keystore.KeyRecord) { r.Policy = text }
}

// statement is a policy of one statement.
func statement(body string) string {
	return `{"Version":"2012-10-17","Statement":{` + body + `}}`
}

const (
	everybody = `"Effect":"Allow","Principal":{"AWS":"*"},"Action":"kms:*","Resource":"*"`
	delegated = `"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"`
)

func TestKeyPolicy(t *testing.T) {
	h := newHarness(t)
	h.addUser(account, "alice")
	key := h.createKey(nil)
	get := func(name string) *kms.GetKeyPolicyResponse {
		t.Helper()
		return h.must("GetKeyPolicy", kms.GetKeyPolicyRequest{KeyId: key.Arn, PolicyName: name}).(*kms.GetKeyPolicyResponse)
	}
	if got := get(""); got.PolicyName != "default" || got.Policy != defaultKeyPolicy("aws", account) {
		t.Errorf("a new key has the policy %s: %s", got.PolicyName, got.Policy)
	}
	// The text comes back to the byte.
	text := " " + strings.Replace(statement(delegated), ",", "\t,\r\n ", 1)
	h.must("PutKeyPolicy", kms.PutKeyPolicyRequest{KeyId: key.KeyId, PolicyName: "default", Policy: text})
	h.restart()
	if got := get("default"); got.Policy != text {
		t.Errorf("the policy came back as %q", got.Policy)
	}
	names := h.must("ListKeyPolicies", in{"KeyId": key.KeyId}).(*kms.ListKeyPoliciesResponse)
	if !slices.Equal(names.PolicyNames, []string{"default"}) || names.Truncated || names.NextMarker != "" {
		t.Errorf("ListKeyPolicies: %+v", names)
	}
	// The new policy decides from the next request on.
	h.must("PutKeyPolicy", kms.PutKeyPolicyRequest{KeyId: key.KeyId, BypassPolicyLockoutSafetyCheck: true,
		Policy: statement(`"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/alice"},"Action":"kms:*","Resource":"*"`)})
	_, err := h.invoke("GetKeyPolicy", in{"KeyId": key.KeyId})
	wantError(t, err, kms.AccessDeniedException, "User: arn:aws:iam::111122223333:root is not authorized to perform: kms:GetKeyPolicy on resource: "+key.Arn+" because no resource-based policy allows the kms:GetKeyPolicy action")
	if _, err := h.invokeAs(h.userCall(account, "alice"), "GetKeyPolicy", in{"KeyId": key.KeyId}); err != nil {
		t.Error(err)
	}
}

func TestKeyPolicyRefused(t *testing.T) {
	h := newHarness(t)
	h.addUser(account, "alice")
	key := h.createKey(nil)
	const (
		syntax     = "Syntax errors in policy."
		principals = "Policy contains a statement with one or more invalid principals."
		nobody     = "Policy contains a statement with no principal."
		lockout    = "The new key policy will not allow you to update the key policy in the future."
		permissive = "OverlyPermissiveCondition: Using the ForAllValues set operator with a single-valued condition key matches requests without the specified "
	)
	malformed := kms.MalformedPolicyDocumentException
	to := func(principal string) string {
		return statement(`"Effect":"Allow","Principal":` + principal + `,"Action":"kms:*","Resource":"*"`)
	}
	for name, c := range map[string]struct {
		policy string
		code   kms.ErrorCode
		text   string
	}{
		"not JSON":                 {`{`, malformed, syntax},
		"no statement":             {`{"Version":"2012-10-17","Statement":[]}`, malformed, syntax},
		"no version":               {`{"Statement":{` + everybody + `}}`, malformed, syntax},
		"unknown element":          {statement(everybody + `,"Colour":"red"`), malformed, syntax},
		"too large":                {statement(everybody) + strings.Repeat(" ", maxPolicy), kms.LimitExceededException, "The key policy is larger than 32768 bytes."},
		"largest":                  {statement(everybody) + strings.Repeat(" ", maxPolicy-len(statement(everybody))), "", ""},
		"no principal":             {statement(`"Effect":"Allow","Action":"kms:*","Resource":"*"`), malformed, nobody},
		"empty principal":          {to(`{"AWS":[]}`), malformed, nobody},
		"nonsense":                 {to(`{"AWS":"alice"}`), malformed, principals},
		"a group":                  {to(`{"AWS":"arn:aws:iam::111122223333:group/admins"}`), malformed, principals},
		"a wildcard":               {to(`{"AWS":["*","arn:aws:iam::111122223333:user/*"]}`), malformed, principals},
		"an empty name":            {to(`{"AWS":["*",""]}`), malformed, principals},
		"second statement":         {`{"Version":"2012-10-17","Statement":[{` + everybody + `},{"Effect":"Deny","NotPrincipal":{"AWS":"x"},"Action":"kms:*","Resource":"*"}]}`, malformed, principals},
		"ForAllValues":             {statement(everybody + `,"Condition":{"ForAllValues:StringEquals":{"kms:EncryptionContext:app":"x"}}`), malformed, permissive + "encryption context."},
		"ForAllValues on tag":      {statement(everybody + `,"Condition":{"forallvalues:stringlike":{"AWS:RequestTag/a":["x"]}}`), malformed, permissive + "tag."},
		"unknown operator":         {statement(everybody + `,"Condition":{"StringIs":{"kms:ViaService":"x"}}`), malformed, syntax},
		"no number":                {statement(everybody + `,"Condition":{"NumericLessThan":{"kms:RotationPeriodInDays":"many"}}`), malformed, syntax},
		"no date":                  {statement(everybody + `,"Condition":{"DateLessThan":{"aws:CurrentTime":"soon"}}`), malformed, syntax},
		"no Boolean":               {statement(everybody + `,"Condition":{"Bool":{"aws:SecureTransport":"perhaps"}}`), malformed, syntax},
		"no address":               {statement(everybody + `,"Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/99"}}`), malformed, syntax},
		"a list of objects":        {statement(everybody + `,"Condition":{"StringEquals":{"kms:ViaService":[{"a":"b"}]}}`), malformed, syntax},
		"no end of variable":       {statement(everybody + `,"Condition":{"StringEquals":{"aws:ResourceTag/a":"${aws:username"}}`), malformed, syntax},
		"an unknown user":          {to(`{"AWS":["*","arn:aws:iam::111122223333:user/nobody"]}`), malformed, principals},
		"unknown in NotPrincipal":  {`{"Version":"2012-10-17","Statement":[{` + everybody + `},{"Effect":"Deny","NotPrincipal":{"AWS":["arn:aws:iam::111122223333:user/nobody","arn:aws:iam::111122223333:root"]},"Action":"kms:Decrypt","Resource":"*"}]}`, malformed, principals},
		"a known user":             {to(`{"AWS":["*","arn:aws:iam::111122223333:user/alice"]}`), "", ""},
		"another account's user":   {to(`{"AWS":["*","arn:aws:iam::444455556666:user/nobody"]}`), "", ""},
		"another partition's user": {to(`{"AWS":["*","arn:aws-cn:iam::111122223333:user/nobody"]}`), "", ""},
		"condition not met":        {statement(everybody + `,"Condition":{"StringEquals":{"kms:CallerAccount":"444455556666"}}`), malformed, lockout},
		"condition met":            {statement(everybody + `,"Condition":{"StringEquals":{"kms:CallerAccount":"111122223333","kms:KeySpec":"SYMMETRIC_DEFAULT"}}`), "", ""},
		"condition absent":         {statement(everybody + `,"Condition":{"StringLike":{"kms:ViaService":"*"}}`), malformed, lockout},
		"deny condition not met":   {`{"Version":"2012-10-17","Statement":[{` + everybody + `},{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"Bool":{"kms:MultiRegion":"true"}}}]}`, "", ""},
		"deny condition met":       {`{"Version":"2012-10-17","Statement":[{` + everybody + `},{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"Bool":{"kms:MultiRegion":"false"}}}]}`, malformed, lockout},
		"somebody else":            {to(`{"AWS":"arn:aws:iam::444455556666:root"}`), malformed, lockout},
		"another action":           {statement(`"Effect":"Allow","Principal":"*","Action":"kms:Get*","Resource":"*"`), malformed, lockout},
		"no action":                {statement(`"Effect":"Allow","Principal":"*","Resource":"*"`), malformed, lockout},
		"another key":              {statement(`"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"arn:aws:kms:us-east-1:111122223333:key/other"`), malformed, lockout},
		"denied":                   {`{"Version":"2012-10-17","Statement":[{` + everybody + `},{"Effect":"Deny","Principal":"*","Action":"kms:Put*","Resource":"*"}]}`, malformed, lockout},
		"everybody":                {statement(everybody), "", ""},
		"delegated":                {statement(delegated), "", ""},
		"all kinds":                {to(`{"AWS":["*","444455556666","arn:aws:iam::444455556666:role/path/r-1@x","arn:aws-cn:sts::444455556666:assumed-role/r/s"],"Service":"s3.amazonaws.com","Federated":"cognito-identity.amazonaws.com"}`), "", ""},
		"2008, no resource":        {`{"Version":"2008-10-17","Id":"x","Statement":[{` + everybody + `},{"Sid":"with spaces","Effect":"Allow","Principal":"*"}]}`, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := h.invoke("PutKeyPolicy", kms.PutKeyPolicyRequest{KeyId: key.KeyId, Policy: c.policy})
			if c.code != "" {
				wantError(t, err, c.code, c.text)
			} else if err != nil {
				t.Error(err)
			}
			if c.text != lockout {
				return
			}
			if _, err := h.invoke("PutKeyPolicy", kms.PutKeyPolicyRequest{KeyId: key.KeyId, Policy: c.policy, BypassPolicyLockoutSafetyCheck: true}); err != nil {
				t.Errorf("with the check bypassed: %v", err)
			}
			h.editRecord(key.KeyId, setPolicy(defaultKeyPolicy("aws", account)))
		})
	}
	for _, op := range []string{"GetKeyPolicy", "PutKeyPolicy"} {
		_, err := h.invoke(op, in{"KeyId": key.KeyId, "PolicyName": "other", "Policy": statement(everybody)})
		wantError(t, err, kms.NotFoundException, "No such policy exists")
	}
	_, err := h.invoke("PutKeyPolicy", in{"KeyId": key.KeyId, "Policy": "\u0100"})
	wantError(t, err, kms.ValidationException, "1 validation error detected: Value '\u0100' at 'policy' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\u0009\\u000A\\u000D\\u0020-\\u00FF]+")
	_, err = h.invoke("ListKeyPolicies", in{"KeyId": key.KeyId, "Marker": "nonsense"})
	wantError(t, err, kms.InvalidMarkerException, "The marker is not valid.")
}

// TestLockoutOfAUser: delegation to the account counts as far as the user's own policies go.
func TestLockoutOfAUser(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	all := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:*","Resource":"*"}}`
	put := func(call *Call) error {
		_, err := h.invokeAs(call, "PutKeyPolicy", kms.PutKeyPolicyRequest{KeyId: key.KeyId, Policy: statement(delegated)})
		return err
	}
	if err := put(h.userCall(account, "alice", all)); err != nil {
		t.Error(err)
	}
	h.editRecord(key.KeyId, setPolicy(statement(everybody)))
	wantError(t, put(h.userCall(account, "bob")), kms.MalformedPolicyDocumentException,
		"The new key policy will not allow you to update the key policy in the future.")
}

// TestPoliciesOfNewKeys: CreateKey and ReplicateKey hold policies to the same rules, with the key that
// is to be in the conditions.
func TestPoliciesOfNewKeys(t *testing.T) {
	h := newHarness(t)
	primary := h.createKey(in{"MultiRegion": true})
	conditional := func(key, value string) string {
		return statement(everybody + `,"Condition":{"StringEquals":{"` + key + `":"` + value + `"}}`)
	}
	const lockout = "The new key policy will not allow you to update the key policy in the future."
	for name, c := range map[string]struct{ policy, created, replicated string }{
		"a tag of the key":    {conditional("aws:ResourceTag/team", "red"), "", ""},
		"another tag":         {conditional("aws:ResourceTag/team", "blue"), lockout, lockout},
		"the kind of the key": {conditional("kms:MultiRegionKeyType", "REPLICA"), lockout, ""},
		"an unknown user": {statement(`"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/nobody"},"Action":"kms:*","Resource":"*"`),
			"Policy contains a statement with one or more invalid principals.", "Policy contains a statement with one or more invalid principals."},
	} {
		t.Run(name, func(t *testing.T) {
			tags := []in{{"TagKey": "team", "TagValue": "red"}}
			_, err := h.invoke("CreateKey", in{"Policy": c.policy, "Tags": tags})
			if c.created != "" {
				wantError(t, err, kms.MalformedPolicyDocumentException, c.created)
			} else if err != nil {
				t.Error(err)
			}
			_, err = h.invoke("ReplicateKey", in{"KeyId": primary.KeyId, "ReplicaRegion": ireland, "Policy": c.policy, "Tags": tags})
			if c.replicated != "" {
				wantError(t, err, kms.MalformedPolicyDocumentException, c.replicated)
			} else if code := kms.AsError(err).Code; err != nil && code != kms.AlreadyExistsException {
				t.Error(err)
			}
		})
	}
}
