package kms

import (
	"bytes"
	"encoding/json"
	"iter"
)

// The functions here find the parts of a JSON text that encoding/json has found valid. They
// allocate nothing and check nothing, and must not be given other text. None of them recurses.

// trim drops the white space that JSON allows around a text.
func trim(text []byte) value {
	return bytes.Trim(text, " \t\r\n")
}

// objectMembers yields the quoted name and the value of each member of an object, nil for null.
func objectMembers(object value) iter.Seq2[value, value] {
	return func(yield func(name, val value) bool) {
		for i := skipSpace(object, 1); object[i] != '}'; {
			end := valueEnd(object, i)
			name := object[i:end]
			i = skipSpace(object, skipSpace(object, end)+1) // past the colon
			end = valueEnd(object, i)
			if !yield(name, nonNull(object[i:end])) {
				return
			}
			i = skipComma(object, end)
		}
	}
}

// arrayElements gives the elements of an array, nil for null.
func arrayElements(array value) []value {
	var elements []value
	for i := skipSpace(array, 1); array[i] != ']'; {
		end := valueEnd(array, i)
		elements = append(elements, nonNull(array[i:end]))
		i = skipComma(array, end)
	}
	return elements
}

func nonNull(raw value) value {
	if raw[0] == 'n' {
		return nil
	}
	return raw
}

func skipSpace(text value, i int) int {
	for text[i] == ' ' || text[i] == '\t' || text[i] == '\r' || text[i] == '\n' {
		i++
	}
	return i
}

// skipComma goes from the end of a value to the next value, or to the closing bracket.
func skipComma(text value, i int) int {
	i = skipSpace(text, i)
	if text[i] == ',' {
		i = skipSpace(text, i+1)
	}
	return i
}

// valueEnd gives the index after the value that starts at i.
func valueEnd(text value, i int) int {
	switch text[i] {
	case '"':
		return stringEnd(text, i)
	case '{', '[':
		return bracketEnd(text, i)
	}
	for i < len(text) && bytes.IndexByte([]byte(" \t\r\n,]}"), text[i]) < 0 {
		i++
	}
	return i
}

// stringEnd gives the index after the string that starts at i.
func stringEnd(text value, i int) int {
	for i++; text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// bracketEnd gives the index after the object or array that starts at i.
func bracketEnd(text value, i int) int {
	for depth := 0; ; {
		switch text[i] {
		case '"':
			i = stringEnd(text, i)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		i++
		if depth == 0 {
			return i
		}
	}
}

// unquote gives the text of a JSON string. It reports false if an escape stands for half a surrogate
// pair: that is not a character, and encoding/json would replace every such half by the same one.
func unquote(quoted value) (string, bool) {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner), true
	}
	if !pairedSurrogates(inner) {
		return "", false
	}
	var text string
	err := json.Unmarshal(quoted, &text)
	return text, err == nil
}

// pairedSurrogates says whether every \u escape of a surrogate is half of a pair.
func pairedSurrogates(text value) bool {
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		i++
		if text[i] != 'u' {
			continue
		}
		switch surrogateHalf(text[i+1 : i+5]) {
		case lowHalf:
			return false
		case highHalf:
			next := text[i+5:]
			if len(next) < 6 || next[0] != '\\' || next[1] != 'u' || surrogateHalf(next[2:6]) != lowHalf {
				return false
			}
			i += 6
		}
		i += 4
	}
	return true
}

type half int

const (
	noHalf half = iota
	highHalf
	lowHalf
)

// surrogateHalf classifies four hex digits: D800 to DBFF are high halves, DC00 to DFFF low ones.
func surrogateHalf(hex value) half {
	if hex[0]|0x20 != 'd' {
		return noHalf
	}
	switch hex[1] | 0x20 {
	case '8', '9', 'a', 'b': // the digits have bit 0x20 already
		return highHalf
	case 'c', 'd', 'e', 'f':
		return lowHalf
	}
	return noHalf
}
