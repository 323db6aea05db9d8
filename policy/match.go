package policy

// matches reports whether name fits the pattern, in which * stands for any run of bytes and ? for
// one byte. With fold the letters A to Z of name count as a to z. It takes time proportional to
// len(pattern) * len(name) at worst and allocates nothing.
func matches(pattern, name string, fold bool) bool {
	p, n := 0, 0
	star, mark := -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == letter(name[n], fold)):
			p++
			n++
		case star >= 0:
			mark++
			p, n = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

func letter(c byte, fold bool) byte {
	if fold && 'A' <= c && c <= 'Z' {
		return c - 'A' + 'a'
	}
	return c
}

func (p patterns) match(name string) bool {
	if p.list == nil {
		return false
	}
	for _, pattern := range p.list {
		if matches(pattern, name, p.folded) {
			return !p.negated
		}
	}
	return p.negated
}
