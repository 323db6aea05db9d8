package ops

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"

	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/policy"
)

// maxPolicy is the largest key policy in bytes (AWS KMS resource quotas).
const maxPolicy = 32_768

// parseKeyPolicy reads a key policy. Beyond what package policy asks of every policy, a key policy
// has a version, each of its statements has principals that can exist, and none has the conditions
// that AWS calls overly permissive (AWS KMS Developer Guide, "Creating a key policy"). It gives the
// principals of IAM that the policy names, too.
func parseKeyPolicy(text string) (document *policy.Document, principals []string, err error) {
	if len(text) > maxPolicy {
		return nil, nil, kms.Errorf(kms.LimitExceededException, "The key policy is larger than %d bytes.", maxPolicy)
	}
	document, err = policy.Parse([]byte(text))
	if err != nil {
		return nil, nil, malformed("Syntax errors in policy.").Because(err)
	}
	var form policyForm
	if err := json.Unmarshal([]byte(text), &form); err != nil || form.Version == "" {
		return nil, nil, malformed("Syntax errors in policy.")
	}
	for _, s := range form.Statement {
		if err := s.check(); err != nil {
			return nil, nil, err
		}
		principals = append(append(principals, s.Principal.named...), s.NotPrincipal.named...)
	}
	return document, principals, nil
}

func invalidPrincipals() *kms.Error {
	return malformed("Policy contains a statement with one or more invalid principals.")
}

func malformed(text string) *kms.Error {
	return kms.Errorf(kms.MalformedPolicyDocumentException, "%s", text)
}

// policyForm is as much of a policy as the rules for key policies look at. Package policy has
// judged the rest by then.
type policyForm struct {
	Version   string
	Statement oneOrMany[statementForm]
}

type statementForm struct {
	Principal, NotPrincipal principalForm
	Condition               map[string]map[string]json.RawMessage
}

func (s *statementForm) check() error {
	principals := s.Principal.values + s.NotPrincipal.values
	switch {
	case principals == 0:
		return malformed("Policy contains a statement with no principal.")
	case s.Principal.invalid || s.NotPrincipal.invalid:
		return invalidPrincipals()
	}
	for operator, keys := range s.Condition {
		if !strings.HasPrefix(strings.ToLower(operator), "forallvalues:") {
			continue
		}
		for key := range keys {
			for prefix, what := range singleValued {
				if strings.HasPrefix(strings.ToLower(key), prefix) {
					return malformed("OverlyPermissiveCondition: Using the ForAllValues set operator with a single-valued condition key matches requests without the specified " + what + ".")
				}
			}
		}
	}
	return nil
}

// singleValued are the condition keys that ForAllValues must not be used with. Nothing writes to
// it.
var singleValued = map[string]string{
	"kms:encryptioncontext:": "encryption context",
	"aws:requesttag/":        "tag",
}

// principalForm is a Principal or NotPrincipal element.
type principalForm struct {
	values  int
	invalid bool
	named   []string // under "AWS"
}

// principalPatterns says what the principals of a type look like; those of another type can be any
// text. A principal of IAM is named without wildcards, and a user group is none (IAM User Guide,
// "AWS JSON policy elements: Principal"). Nothing writes to it.
var principalPatterns = map[string]*regexp.Regexp{
	"AWS": regexp.MustCompile(`^(\*|[0-9]{12}|arn:aws[a-z-]*:iam::[0-9]{12}:(root|(user|role)/[\w+=,.@/-]+)|` +
		`arn:aws[a-z-]*:sts::[0-9]{12}:(assumed-role|federated-user)/[\w+=,.@/:-]+)$`),
	"Service": regexp.MustCompile(`^[a-z0-9.-]+$`),
}

func (p *principalForm) UnmarshalJSON(text []byte) error {
	*p = principalForm{} // of a member that is given twice the last counts
	if text[0] == '"' {  // "*", or package policy would have refused it
		p.values = 1
		return nil
	}
	var byType map[string]oneOrMany[string]
	if err := json.Unmarshal(text, &byType); err != nil {
		return err
	}
	for kind, values := range byType {
		p.values += len(values)
		if kind == "AWS" {
			p.named = values
		}
		for _, value := range values {
			if pattern := principalPatterns[kind]; value == "" || pattern != nil && !pattern.MatchString(value) {
				p.invalid = true
			}
		}
	}
	return nil
}

// oneOrMany is a value or a list of values.
type oneOrMany[T any] []T

func (o *oneOrMany[T]) UnmarshalJSON(text []byte) error {
	if bytes.HasPrefix(text, []byte("[")) {
		return json.Unmarshal(text, (*[]T)(o))
	}
	*o = make([]T, 1)
	return json.Unmarshal(text, &(*o)[0])
}
