package kms

import (
	"bytes"
	"encoding/json"
)

// eachElement calls visit with the value of each element of an object or array, nil for null, and in an
// object with its quoted name. It says whether text is JSON; visit may have been called if it is not.
// What visit is given is JSON always. It allocates nothing.
func eachElement(text value, visit func(name, val value)) bool {
	for i, first := 1, true; ; first = false {
		name, start, closed := nextElement(text, i, text[0], first)
		if closed {
			return JSONSpaceEnd(text, start) == len(text)
		}
		if start < 0 {
			return false
		}
		if i = JSONValueEnd(text, start, 1); i < 0 { // in the bracket of text
			return false
		}
		visit(name, nonNull(text[start:i]))
	}
}

func nonNull(raw value) value {
	if raw[0] == 'n' {
		return nil
	}
	return raw
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
