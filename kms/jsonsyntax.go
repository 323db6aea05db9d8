package kms

// The functions here go over a JSON text from the left to the right and take nothing that encoding/json
// would not take, except that they do not look whether text is UTF-8. They give the index after what
// they went over, or -1. None of them recurses.

// maxDepth is how many open brackets encoding/json takes.
const maxDepth = 10000

// JSONValueEnd gives the index after the JSON value that begins at i, inside of as many open brackets as
// depth says. It gives -1 if there is none that encoding/json would take.
func JSONValueEnd(text []byte, i, depth int) int {
	var few [16]byte
	open := few[:0] // the brackets that this value has opened
	for {
		first := false
		if c := byteAt(text, i); c == '{' || c == '[' {
			if depth+len(open) == maxDepth {
				return -1
			}
			open = append(open, c)
			first = true
			i++
		} else if i = scalarEnd(text, i); i < 0 {
			return -1
		}
		for closed := true; closed; first = false {
			if len(open) == 0 {
				return i
			}
			if _, i, closed = nextElement(text, i, open[len(open)-1], first); i < 0 {
				return -1
			}
			if closed {
				open = open[:len(open)-1]
			}
		}
	}
}

// nextElement goes from behind an opening bracket, or behind the value of an element, to the value of the
// next element. An element of an object has a name, which stays quoted. closed says that there is no
// further element; next is then the index after the closing bracket.
func nextElement(text []byte, i int, bracket byte, first bool) (name []byte, next int, closed bool) {
	const toClosing = '}' - '{' // and ']' - '['
	i = JSONSpaceEnd(text, i)
	switch c := byteAt(text, i); {
	case c == bracket+toClosing:
		return nil, i + 1, true
	case first:
	case c == ',':
		i = JSONSpaceEnd(text, i+1)
	default:
		return nil, -1, false
	}
	if bracket == '[' {
		return nil, i, false
	}
	end := JSONStringEnd(text, i)
	if end < 0 {
		return nil, -1, false
	}
	colon := JSONSpaceEnd(text, end)
	if byteAt(text, colon) != ':' {
		return nil, -1, false
	}
	return text[i:end], JSONSpaceEnd(text, colon+1), false
}

// byteAt gives zero, which JSON has no use for, behind the end of text.
func byteAt(text []byte, i int) byte {
	if i < len(text) {
		return text[i]
	}
	return 0
}

// JSONSpaceEnd gives the index after the white space, if there is any, that begins at i.
func JSONSpaceEnd(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\t' || text[i] == '\r' || text[i] == '\n') {
		i++
	}
	return i
}

func scalarEnd(text []byte, i int) int {
	switch byteAt(text, i) {
	case '"':
		return JSONStringEnd(text, i)
	case 't':
		return wordEnd(text, i, "true")
	case 'f':
		return wordEnd(text, i, "false")
	case 'n':
		return wordEnd(text, i, "null")
	}
	return numberEnd(text, i)
}

func wordEnd(text []byte, i int, word string) int {
	if end := i + len(word); end <= len(text) && string(text[i:end]) == word {
		return end
	}
	return -1
}

// JSONStringEnd gives the index after the JSON string that begins at i, or -1 if there is none.
func JSONStringEnd(text []byte, i int) int {
	if byteAt(text, i) != '"' {
		return -1
	}
	for i++; ; {
		i += plainLength(text[i:])
		switch c := byteAt(text, i); {
		case c == '"':
			return i + 1
		case c == '\\':
			if i = escapeEnd(text, i); i < 0 {
				return -1
			}
		case c < ' ':
			return -1
		default:
			i++
		}
	}
}

func escapeEnd(text []byte, i int) int {
	switch byteAt(text, i+1) {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		for digit := i + 2; digit < i+6; digit++ {
			if !isHex(byteAt(text, digit)) {
				return -1
			}
		}
		return i + 6
	}
	return -1
}

func isHex(c byte) bool {
	return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f'
}

func isDigit[C byte | rune](c C) bool { return '0' <= c && c <= '9' }

func numberEnd(text []byte, i int) int {
	if byteAt(text, i) == '-' {
		i++
	}
	if byteAt(text, i) == '0' {
		i++
	} else {
		i = digitsEnd(text, i)
	}
	if i >= 0 && byteAt(text, i) == '.' {
		i = digitsEnd(text, i+1)
	}
	if i >= 0 && byteAt(text, i)|0x20 == 'e' {
		i++
		if sign := byteAt(text, i); sign == '+' || sign == '-' {
			i++
		}
		i = digitsEnd(text, i)
	}
	return i
}

// digitsEnd wants one digit at least.
func digitsEnd(text []byte, i int) int {
	start := i
	for isDigit(byteAt(text, i)) {
		i++
	}
	if i == start {
		return -1
	}
	return i
}
