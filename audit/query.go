package audit

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Filter chooses records; empty members choose all.
type Filter struct {
	Key          string // key id, key ARN or alias: of a resource or of the request
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
	UserIdentity struct {
		ARN, UserName, PrincipalID, InvokedBy string
		SessionContext             struct {
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
	names := func(s string) bool {
		return s == f.Key || strings.HasSuffix(s, "/"+f.Key) || strings.HasSuffix(s, ":"+f.Key)
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
