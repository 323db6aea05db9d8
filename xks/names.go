package xks

import "strings"

// APIRoot is what every XksProxyUriPath ends in.
const APIRoot = "/kms/xks/v1"

// ValidURIPath says whether s is an XksProxyUriPath: an optional prefix of at least one segment,
// then APIRoot; at most 128 of a to z, A to Z, 0 to 9, "/", "-" and "_".
func ValidURIPath(s string) bool {
	prefix, ok := strings.CutSuffix(s, APIRoot)
	return ok && len(s) <= MaxURIPath && (prefix == "" || validPrefix(prefix))
}

// validPrefix wants segments that are not empty, each behind a slash: an empty one would vanish
// where somebody normalises the path.
func validPrefix(prefix string) bool {
	if prefix[0] != '/' || strings.Contains(prefix, "//") || strings.HasSuffix(prefix, "/") {
		return false
	}
	return !strings.ContainsFunc(prefix, func(r rune) bool { return !isAlphanumeric(r) && r != '/' && r != '-' && r != '_' })
}

// ValidKeyID says whether s is an external key's id: 1 to 128 letters, digits, "-", "." and "_".
// "." and ".." are left out, because clients and proxies on the way take them out of a path.
func ValidKeyID(s string) bool {
	if s == "" || len(s) > MaxKeyID || s == "." || s == ".." {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return !isAlphanumeric(r) && r != '-' && r != '.' && r != '_' })
}

func isAlphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// ValidAccessKeyID says whether s has 20 to 30 of A to Z and 2 to 7.
func ValidAccessKeyID(s string) bool {
	return len(s) >= 20 && len(s) <= 30 &&
		!strings.ContainsFunc(s, func(r rune) bool { return !('A' <= r && r <= 'Z' || '2' <= r && r <= '7') })
}

// ValidSecret says whether s has 43 to 64 of the letters, the digits, "/", "+" and "=".
func ValidSecret(s string) bool {
	return len(s) >= 43 && len(s) <= 64 &&
		!strings.ContainsFunc(s, func(r rune) bool { return !isAlphanumeric(r) && r != '/' && r != '+' && r != '=' })
}
