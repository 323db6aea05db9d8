package api

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/kms11/kms11/ops"
)

// A query is the parameters of a request in the AWS Query protocol: names and values, encoded as a
// form in the body of a POST request or in the URL of a GET request.
type query url.Values

// Limits of a query. The largest valid request has four parameters for each of 50 tags.
const (
	maxParameters = 1000
	maxMembers    = 200 // the highest number of a list's member
)

// parseQuery reads the parameters of a request. A name that is there twice, or an encoding that is
// none, is refused: two readers might not agree on what such a request says.
func parseQuery(r *http.Request, body []byte) (query, error) {
	text := r.URL.RawQuery
	if r.Method == http.MethodPost && len(body) > 0 {
		if text != "" {
			text += "&"
		}
		text += string(body)
	}
	if strings.Count(text, "&") >= maxParameters {
		return nil, &queryError{code: "MalformedQueryString", message: "The query string has too many parameters.", status: http.StatusBadRequest}
	}
	values, err := url.ParseQuery(text)
	if err != nil {
		return nil, &queryError{code: "MalformedQueryString", message: "The query string contains a syntax error.", status: http.StatusBadRequest}
	}
	for name, list := range values {
		if len(list) != 1 {
			return nil, &queryError{code: "MalformedQueryString", message: "The query string has the parameter " + shortened(name) + " more than once.", status: http.StatusBadRequest}
		}
	}
	return query(values), nil
}

func shortened(name string) string {
	if len(name) > 64 {
		return name[:64] + "..."
	}
	return name
}

func (q query) get(name string) string {
	if list := q[name]; len(list) > 0 {
		return list[0]
	}
	return ""
}

// has says whether there is any parameter of a structure or list.
func (q query) has(prefix string) bool {
	for name := range q {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// number reads a whole number, 0 if it is not there. A number that is none becomes one that no
// validation accepts.
func (q query) number(name string) int {
	text := q.get(name)
	if text == "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n == 0 {
		return -1
	}
	return int(n)
}

// members gives the numbers of a list's members, name.member.N or, of a list of structures,
// name.member.N.field, in ascending order.
func (q query) members(list string) ([]int, error) {
	prefix := list + ".member."
	var numbers []int
	for name := range q {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		digits, _, _ := strings.Cut(rest, ".")
		n, err := strconv.Atoi(digits)
		if err != nil || n < 1 || n > maxMembers || strconv.Itoa(n) != digits {
			return nil, &queryError{code: "MalformedInput", message: "Key " + shortened(name) + " is not the key of a member of a list.", status: http.StatusBadRequest}
		}
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	return slices.Compact(numbers), nil
}

// texts gives a list of strings.
func (q query) texts(list string) ([]string, error) {
	numbers, err := q.members(list)
	var texts []string
	for _, n := range numbers {
		texts = append(texts, q.get(list+".member."+strconv.Itoa(n)))
	}
	return texts, err
}

// tags gives a list of tags.
func (q query) tags(list string) ([]ops.SessionTag, error) {
	numbers, err := q.members(list)
	var tags []ops.SessionTag
	for _, n := range numbers {
		member := list + ".member." + strconv.Itoa(n)
		tags = append(tags, ops.SessionTag{Key: q.get(member + ".Key"), Value: q.get(member + ".Value")})
	}
	return tags, err
}

func (q query) assumeRole() (*ops.AssumeRoleRequest, error) {
	tags, err := q.tags("Tags")
	if err != nil {
		return nil, err
	}
	transitive, err := q.texts("TransitiveTagKeys")
	return &ops.AssumeRoleRequest{
		RoleARN:           q.get("RoleArn"),
		RoleSessionName:   q.get("RoleSessionName"),
		DurationSeconds:   q.number("DurationSeconds"),
		ExternalID:        q.get("ExternalId"),
		Policy:            q.get("Policy"),
		PolicyARNs:        q.has("PolicyArns.member."),
		Tags:              tags,
		TransitiveTagKeys: transitive,
		SourceIdentity:    q.get("SourceIdentity"),
		TokenCode:         q.get("TokenCode"),
	}, err
}

func (q query) webIdentity() *ops.WebIdentityRequest {
	return &ops.WebIdentityRequest{
		RoleARN:          q.get("RoleArn"),
		RoleSessionName:  q.get("RoleSessionName"),
		WebIdentityToken: q.get("WebIdentityToken"),
		ProviderID:       q.get("ProviderId"),
		DurationSeconds:  q.number("DurationSeconds"),
		Policy:           q.get("Policy"),
		PolicyARNs:       q.has("PolicyArns.member."),
	}
}
