package xks

import (
	"net/http"
	"strings"
)

// An operation is one of the four of the specification, by the last segment of its URI.
type operation string

const (
	opHealth   operation = "health"
	opMetadata operation = "metadata"
	opEncrypt  operation = "encrypt"
	opDecrypt  operation = "decrypt"
)

// A target is what a request's URI names.
type target struct {
	prefix    string // of the tenant; "/" for none
	operation operation
	keyID     string // empty for health
}

// targetOf reads the URI of a request as it was sent: an escaped character is not the character,
// and what somebody would have to normalise is refused.
func targetOf(r *http.Request) (target, bool) {
	path, query, found := strings.Cut(r.RequestURI, "?")
	if found && query != "" || len(path) > MaxURI {
		return target{}, false
	}
	return parsePath(path)
}

// parsePath reads [/prefix]/kms/xks/v1/health and [/prefix]/kms/xks/v1/keys/{id}/{operation}.
func parsePath(path string) (target, bool) {
	root := strings.LastIndex(path, APIRoot+"/")
	if root < 0 || !ValidURIPath(path[:root+len(APIRoot)]) {
		return target{}, false
	}
	t := target{prefix: path[:root]}
	if root == 0 {
		t.prefix = "/"
	}
	rest := path[root+len(APIRoot)+1:]
	if rest == string(opHealth) {
		t.operation = opHealth
		return t, true
	}
	rest, ok := strings.CutPrefix(rest, "keys/")
	if !ok {
		return target{}, false
	}
	var name string
	if t.keyID, name, ok = strings.Cut(rest, "/"); !ok || !ValidKeyID(t.keyID) {
		return target{}, false
	}
	t.operation = operation(name)
	return t, t.operation == opMetadata || t.operation == opEncrypt || t.operation == opDecrypt
}

// URIPathOf is the XksProxyUriPath of a tenant's prefix.
func URIPathOf(prefix string) string {
	if prefix == "/" {
		return APIRoot
	}
	return prefix + APIRoot
}

// PrefixOf is the prefix in an XksProxyUriPath.
func PrefixOf(uriPath string) string {
	if prefix := strings.TrimSuffix(uriPath, APIRoot); prefix != "" {
		return prefix
	}
	return "/"
}
