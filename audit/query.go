package audit

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Filter chooses records; empty members choose all.
type Filter struct {
	// Key is a key id or key ARN, which chooses every record about the key, however the request named
	// it, or an alias name or alias ARN, which chooses the requests that named the alias.
	Key          string
	Operation    string
	Principal    string // ARN, or the name at its end; a service, also for what it asked on somebody's behalf
	Since, Until time.Time
	Error        string // an error code; "any" for all failures, "none" for successes
}

// recordView is what a Filter looks at.
type recordView struct {
	EventTime    time.Time
	EventName    string
	ErrorCode    string
	AWSRegion    string
	UserIdentity struct {
		ARN, UserName, PrincipalID, InvokedBy, AccountID string
		SessionContext                                   struct {
			SessionIssuer struct{ ARN, UserName string }
		}
	}
	Resources         []struct{ ARN string }
	RequestParameters map[string]any
}

// Match says whether a record is chosen. A line that is no record is not.
func (f *Filter) Match(line []byte) bool {
	var r recordView
	if err := json.Unmarshal(line, &r); err != nil {
		return false
	}
	switch {
	case f.Operation != "" && !strings.EqualFold(f.Operation, r.EventName),
		!f.Since.IsZero() && r.EventTime.Before(f.Since),
		!f.Until.IsZero() && r.EventTime.After(f.Until),
		f.Principal != "" && !f.principal(&r),
		f.Key != "" && !f.key(&r):
		return false
	}
	switch f.Error {
	case "":
		return true
	case "any":
		return r.ErrorCode != ""
	case "none":
		return r.ErrorCode == ""
	}
	return strings.EqualFold(strings.TrimSuffix(f.Error, "Exception"), strings.TrimSuffix(r.ErrorCode, "Exception"))
}

func (f *Filter) principal(r *recordView) bool {
	u := &r.UserIdentity
	names := []string{u.ARN, u.UserName, u.PrincipalID, u.InvokedBy, u.SessionContext.SessionIssuer.ARN, u.SessionContext.SessionIssuer.UserName}
	return slices.Contains(names, f.Principal) || strings.HasSuffix(u.ARN, "/"+f.Principal) || strings.HasSuffix(u.ARN, ":"+f.Principal)
}

// keyParameters are the members of requests that name a key.
func keyParameters() []string {
	return []string{"keyId", "targetKeyId", "sourceKeyId", "destinationKeyId", "aliasName"}
}

func (f *Filter) key(r *recordView) bool {
	alias, owned := r.aliasHere(f.Key)
	names := func(s string) bool {
		return s == f.Key || strings.HasSuffix(s, "/"+f.Key) || strings.HasSuffix(s, ":"+f.Key) || owned && s == alias
	}
	for _, resource := range r.Resources {
		if names(resource.ARN) {
			return true
		}
	}
	for _, parameter := range keyParameters() {
		if s, ok := r.RequestParameters[parameter].(string); ok && names(s) {
			return true
		}
	}
	return false
}

// aliasHere gives the name by which a request of this record could have meant the alias of an ARN: a
// name without an ARN is one of the caller's own account, in the Region of the request.
func (r *recordView) aliasHere(arn string) (name string, owned bool) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || !strings.HasPrefix(parts[5], "alias/") {
		return "", false
	}
	return parts[5], parts[3] == r.AWSRegion && parts[4] == r.UserIdentity.AccountID
}
