package policy

// Wildcard reports whether name fits the pattern, in which * stands for any run of bytes and ? for
// one byte. Case counts.
func Wildcard(pattern, name string) bool { return matches(compilePattern(pattern, true), name, false) }
