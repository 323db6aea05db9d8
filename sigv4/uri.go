package sigv4

import (
	"net/http"
	"path"
	"slices"
	"strings"
)

// target gives the path and the query as they are on the wire. A server's request has them in
// RequestURI, which handlers like http.StripPrefix leave alone; a client's has only its URL.
func target(r *http.Request) (path, query string) {
	uri := r.RequestURI
	if uri == "" && r.URL != nil {
		uri = r.URL.RequestURI()
	}
	if !strings.HasPrefix(uri, "/") { // the absolute form of RFC 9112 section 3.2.2
		if _, rest, ok := strings.Cut(uri, "://"); ok {
			uri = strings.TrimLeftFunc(rest, func(c rune) bool { return c != '/' && c != '?' })
		}
	}
	path, query, _ = strings.Cut(uri, "?")
	return path, query
}

// appendPath appends the canonical form of a path as it is on the wire: normalised, then
// encoded, so that an encoded octet is encoded twice.
func appendPath(dst []byte, wire string) []byte {
	if wire == "/" || wire == "" {
		return append(dst, '/')
	}
	clean := path.Clean("/" + wire)
	if strings.HasSuffix(wire, "/") && clean != "/" {
		clean += "/"
	}
	return appendEncoded(dst, clean, true)
}

// appendQuery appends the canonical form of a query string.
func appendQuery(dst []byte, raw string) []byte {
	if raw == "" {
		return dst
	}
	type pair struct{ name, value string }
	var pairs []pair
	for field := range strings.SplitSeq(raw, "&") {
		if field == "" {
			continue
		}
		name, value, _ := strings.Cut(field, "=")
		pairs = append(pairs, pair{recode(name), recode(value)})
	}
	// The order is that of the encoded forms.
	slices.SortFunc(pairs, func(a, b pair) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return strings.Compare(a.value, b.value)
	})
	for i, p := range pairs {
		if i > 0 {
			dst = append(dst, '&')
		}
		dst = append(dst, p.name...)
		dst = append(dst, '=')
		dst = append(dst, p.value...)
	}
	return dst
}

// recode decodes a query name or value and encodes it in the canonical way. A "%" that starts
// no escape stands for itself.
func recode(s string) string {
	decoded := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '+':
			decoded = append(decoded, ' ')
		case '%':
			octet, ok := unescape(s[i+1:])
			if ok {
				c = octet
				i += 2
			}
			decoded = append(decoded, c)
		default:
			decoded = append(decoded, c)
		}
	}
	return string(appendEncoded(nil, string(decoded), false))
}

// unescape is the octet that the two hex digits at the start of s stand for.
func unescape(s string) (octet byte, ok bool) {
	if len(s) < 2 {
		return 0, false
	}
	high, ok1 := fromHex(s[0])
	low, ok2 := fromHex(s[1])
	return high<<4 | low, ok1 && ok2
}

// appendEncoded appends s with every octet but RFC 3986's unreserved ones percent-encoded in
// upper case; keepSlash leaves "/" alone too.
func appendEncoded(dst []byte, s string, keepSlash bool) []byte {
	const upper = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		if isUnreserved(c) || keepSlash && c == '/' {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', upper[c>>4], upper[c&15])
		}
	}
	return dst
}

// isUnreserved is RFC 3986 section 2.3.
func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}

// fromHex is the value of a hex digit.
func fromHex(c byte) (value byte, ok bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
