package policy

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// The bytes that stand for wildcards in a pattern. Neither occurs in UTF-8, which JSON text is.
const (
	anyOne byte = 0xfe // one character
	anyRun byte = 0xff // any run of characters
)

// Wildcard reports whether name fits the pattern, in which * stands for any run of characters and ? for
// one. Case counts. A comparison that takes more steps than a whole decision may says no.
func Wildcard(pattern, name string) bool {
	var spent work
	return matches(compilePattern(pattern, true), name, false, &spent)
}

// matches reports whether name fits the pattern. With fold the letters A to Z of name count as a to z.
// What stands between two runs is looked for from left to right, once each. That takes time proportional
// to len(pattern) + len(name), except where something between two runs has a ? in it (or with fold): then
// to their product at worst, within what is left to spend.
func matches(pattern []byte, name string, fold bool, spent *work) bool {
	p, n, ok := prefix(pattern, name, fold)
	spent.add(n)
	switch {
	case !ok:
		return false
	case p == len(pattern):
		return n == len(name)
	case p == len(pattern)-1:
		return true
	}
	return matchesRuns(pattern[p:], name[n:], fold, spent)
}

// matchesRuns is matches for a pattern that begins with a run.
func matchesRuns(pattern []byte, name string, fold bool, spent *work) bool {
	spent.add(comparing + len(pattern) + len(name)/16)
	last := bytes.LastIndexByte(pattern, anyRun)
	n, ok := suffix(pattern[last+1:], name, fold)
	if !ok {
		return false
	}
	name = name[:n]
	for between := pattern[:last]; len(between) > 0; {
		between = between[1:] // behind the run
		size, literal := 0, !fold
		for size < len(between) && between[size] != anyRun {
			literal = literal && between[size] != anyOne
			size++
		}
		switch {
		case size > len(name): // a character has at least one byte
			return false
		case size == 0:
			continue
		case literal:
			n, ok = searchLiteral(between[:size], name)
		default:
			n, ok = searchSteps(between[:size], name, fold, spent)
		}
		if !ok {
			return false
		}
		name, between = name[n:], between[size:]
	}
	return true
}

// prefix tells whether name begins with what fits a pattern up to its first run, how much of the pattern that
// is, and how many bytes of name fit.
func prefix(pattern []byte, name string, fold bool) (p, n int, ok bool) {
	for ; p < len(pattern); p++ {
		switch c := pattern[p]; {
		case c == anyRun:
			return p, n, true
		case n == len(name):
			return p, n, false
		case c == anyOne:
			n += width(name[n:])
		case c != letter(name[n], fold):
			return p, n, false
		default:
			n++
		}
	}
	return p, n, true
}

// suffix tells whether name ends with what fits a pattern without runs, and where that begins.
func suffix(segment []byte, name string, fold bool) (n int, ok bool) {
	n = len(name)
	for i := len(segment) - 1; i >= 0; i-- {
		switch c := segment[i]; {
		case n == 0:
			return n, false
		case c == anyOne:
			_, size := utf8.DecodeLastRuneInString(name[:n])
			n -= size
		case c != letter(name[n-1], fold):
			return n, false
		default:
			n--
		}
	}
	return n, true
}

const (
	// probeLength is how many bytes become a string without an allocation.
	probeLength = 32
	// byteProbes is how often the first byte of something is looked for before more of it is, and probes how
	// often its beginning is before the whole is.
	byteProbes = 4
	probes     = 16
)

// searchLiteral finds the first place in name where a segment without wildcards is, and gives its end.
func searchLiteral(segment []byte, name string) (end int, ok bool) {
	from := 0
	for range byteProbes {
		at := strings.IndexByte(name[from:], segment[0])
		if at < 0 || len(name)-from-at < len(segment) {
			return 0, false
		}
		from += at
		if end = from + len(segment); name[from:end] == string(segment) {
			return end, true
		}
		from++
	}
	probe := segment[:min(len(segment), probeLength)]
	for range probes {
		at := strings.Index(name[from:], string(probe))
		if at < 0 || len(name)-from-at < len(segment) {
			return 0, false
		}
		from += at
		if end = from + len(segment); name[from:end] == string(segment) {
			return end, true
		}
		from++
	}
	at := strings.Index(name[from:], string(segment))
	return from + at + len(segment), at >= 0
}

// searchSteps is searchLiteral for a segment that may have ?, or with fold: it tries one place after the other.
func searchSteps(segment []byte, name string, fold bool, spent *work) (end int, ok bool) {
	for from := 0; from < len(name) && !spent.exhausted(); from += width(name[from:]) {
		if c := segment[0]; c != anyOne && !fold {
			at := strings.IndexByte(name[from:], c)
			if at < 0 {
				return 0, false
			}
			from += at
		}
		_, n, ok := prefix(segment, name[from:], fold)
		if ok {
			return from + n, true
		}
		spent.add(comparing + n)
	}
	return 0, false
}

// width is the length in bytes of the first character.
func width(s string) int {
	if s[0] < utf8.RuneSelf {
		return 1
	}
	_, size := utf8.DecodeRuneInString(s)
	return size
}

func letter(c byte, fold bool) byte {
	if fold && 'A' <= c && c <= 'Z' {
		return c - 'A' + 'a'
	}
	return c
}
