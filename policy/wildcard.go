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
	n := 0
	for p, c := range pattern { // as prefix does, up to the first run: most texts go no further
		switch {
		case c == anyRun:
			return p == len(pattern)-1 || matchesRuns(pattern[p:], name[n:], fold, spent)
		case n == len(name):
			return false
		case c == anyOne:
			n += width(name[n:])
		case c != letter(name[n], fold):
			return false
		default:
			n++
		}
	}
	return n == len(name)
}

// matchesRuns is matches for a pattern that begins with a run.
func matchesRuns(pattern []byte, name string, fold bool, spent *work) bool {
	spent.add(comparing + (len(pattern)+len(name))/16)
	last := bytes.LastIndexByte(pattern, anyRun)
	n, ok := suffix(pattern[last+1:], name, fold)
	if !ok {
		return false
	}
	name = name[:n]
	for between := pattern[:last]; len(between) > 0; {
		between = between[1:] // behind the run
		segment := between
		if i := bytes.IndexByte(between, anyRun); i >= 0 {
			segment = between[:i]
		}
		if n, ok = search(segment, name, fold, spent); !ok {
			return false
		}
		name, between = name[n:], between[len(segment):]
	}
	return true
}

// prefix tells whether name begins with what fits a pattern without runs, and how many bytes of it fit.
func prefix(segment []byte, name string, fold bool) (n int, ok bool) {
	for _, c := range segment {
		switch {
		case n == len(name):
			return n, false
		case c == anyOne:
			n += width(name[n:])
		case c != letter(name[n], fold):
			return n, false
		default:
			n++
		}
	}
	return n, true
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

// search finds the first place in name that fits a pattern without runs, and gives its end.
func search(segment []byte, name string, fold bool, spent *work) (end int, ok bool) {
	switch {
	case len(segment) > len(name): // a character has at least one byte
		return 0, false
	case len(segment) == 0:
		return 0, true
	case fold || bytes.IndexByte(segment, anyOne) >= 0:
		return searchSteps(segment, name, fold, spent)
	}
	return searchLiteral(segment, name)
}

const (
	// probeLength is how many bytes become a string without an allocation.
	probeLength = 32
	// probes is how often the beginning of something is looked for before the whole is.
	probes = 16
)

// searchLiteral is search without wildcards.
func searchLiteral(segment []byte, name string) (end int, ok bool) {
	probe, from := segment[:min(len(segment), probeLength)], 0
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

// searchSteps is search that tries one place after the other.
func searchSteps(segment []byte, name string, fold bool, spent *work) (end int, ok bool) {
	for from := 0; from < len(name) && !spent.exhausted(); from += width(name[from:]) {
		if c := segment[0]; c != anyOne && !fold {
			at := strings.IndexByte(name[from:], c)
			if at < 0 {
				return 0, false
			}
			from += at
		}
		n, ok := prefix(segment, name[from:], fold)
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
