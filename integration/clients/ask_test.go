package clients_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"testing"
)

// ask is a request that any client can send.
type ask struct {
	by         string // a profile
	operation  string // of KMS, or as in sts:AssumeRole
	parameters parameters
}

// parameters are those of the API, by their names there. Bytes are of type []byte.
type parameters map[string]any

// as is the request of somebody else.
func (a ask) as(profile string) ask {
	a.by = profile
	return a
}

// with is the request with another value of one parameter, or without it if the value is nil.
func (a ask) with(name string, value any) ask {
	a.parameters = maps.Clone(a.parameters)
	if a.parameters[name] = value; value == nil {
		delete(a.parameters, name)
	}
	return a
}

// to is another operation with the same parameters.
func (a ask) to(operation string) ask {
	a.operation = operation
	return a
}

func (a ask) service() (service, operation string) {
	if service, operation, found := strings.Cut(a.operation, ":"); found {
		return service, operation
	}
	return "kms", a.operation
}

// answer is what a client gives for a request: the result, or an error.
type answer struct {
	Result        map[string]any
	Code, Message string
}

// client sends requests in the ways of one of AWS's clients.
type client interface {
	send(t *testing.T, a ask) answer
}

// boto3 is boto3. Its sessions take their credentials from the profiles.
type boto3 struct{ loop }

func (b boto3) send(t *testing.T, a ask) (got answer) {
	t.Helper()
	service, operation := a.service()
	given := map[string]any{}
	for name, value := range a.parameters {
		if raw, ok := value.([]byte); ok {
			value = map[string][]byte{"bytes": raw}
		}
		given[name] = value
	}
	b.exchange(t, map[string]any{"profile": a.by, "service": service, "operation": operation, "parameters": given}, &got)
	return got
}

// commands is the AWS CLI, with a flag for each parameter.
type commands struct{ cli }

func (c commands) send(t *testing.T, a ask) (got answer) {
	t.Helper()
	service, operation := a.service()
	args := []string{"--profile", a.by, "--output", "json", service, dashed(operation)}
	for name, value := range a.parameters {
		args = append(args, "--"+dashed(name))
		switch value := value.(type) {
		case []byte:
			args = append(args, c.write(t, name, value))
		case string:
			args = append(args, value)
		case bool: // a flag of its own
		default:
			text, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			args = append(args, string(text))
		}
	}
	output, complaint, ok := c.run(t, args...)
	if !ok {
		parts := complaintForm.FindStringSubmatch(complaint)
		if parts == nil {
			t.Fatalf("aws %s %s: %s", service, dashed(operation), complaint)
		}
		return answer{Code: parts[1], Message: parts[2]}
	}
	if output == "" {
		return answer{}
	}
	if err := json.Unmarshal([]byte(output), &got.Result); err != nil {
		t.Fatalf("aws %s %s: %v", service, dashed(operation), err)
	}
	return got
}

// complaintForm is how the CLI tells of an error of the service.
var complaintForm = regexp.MustCompile(`^\n?An error occurred \((\w+)\) when calling the \w+ operation: (.*)\n$`)

// wordStart is where a word begins in a name of the API.
var wordStart = regexp.MustCompile(`([a-z0-9])([A-Z])`)

// dashed is a name of the API as the CLI writes it: encryption-context for EncryptionContext.
func dashed(name string) string { return strings.ToLower(wordStart.ReplaceAllString(name, "$1-$2")) }

// allowed sends a request that has to succeed.
func (s *scene) allowed(a ask) map[string]any {
	s.t.Helper()
	got := s.client.send(s.t, a)
	if got.Code != "" {
		s.t.Fatalf("%s by %s: %s: %s", a.operation, a.by, got.Code, got.Message)
	}
	return got.Result
}

// refused sends a request that has to fail with this code and this message.
func (s *scene) refused(a ask, code, message string) {
	s.t.Helper()
	switch got := s.client.send(s.t, a); {
	case got.Code == "":
		s.t.Errorf("%s by %s succeeded; wanted %s: %s", a.operation, a.by, code, message)
	case got.Code != code || got.Message != message:
		s.t.Errorf("%s by %s:\n got %s: %s\nwant %s: %s", a.operation, a.by, got.Code, got.Message, code, message)
	}
}

// denied sends a request of KMS that has to be denied with this message.
func (s *scene) denied(a ask, message string) {
	s.t.Helper()
	s.refused(a, "AccessDeniedException", message)
}

// text is a member of a result.
func text(t *testing.T, result map[string]any, path ...string) string {
	t.Helper()
	var value any = result
	for _, name := range path {
		members, _ := value.(map[string]any)
		value = members[name]
	}
	found, ok := value.(string)
	if !ok {
		t.Fatalf("the answer has no %s", strings.Join(path, "."))
	}
	return found
}

// The texts of AWS for what is not allowed: who may not do what, on which resource and why. Actions are
// those of KMS without their prefix.

func lacks(who, action, resource, kind string) string {
	return fmt.Sprintf("User: %s is not authorized to perform: kms:%s on resource: %s because no %s allows the kms:%s action", who, action, resource, kind, action)
}

func forbids(who, action, resource, kind string) string {
	return fmt.Sprintf("User: %s is not authorized to perform: kms:%s on resource: %s with an explicit deny in %s", who, action, resource, kind)
}

func unseen(who, action string) string {
	return fmt.Sprintf("User: %s is not authorized to perform: kms:%s on this resource because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access", who, action)
}
