package keystore

import (
	"fmt"
	"strconv"
	"strings"
)

// engineKey is where a record lies in the engine:
//
//	partition/account/region/kind/id
//
// in ASCII. A level that does not apply to a kind is "-". Within a level every byte other than
// '!' to '~', as well as '/' and '%', is written %XX, and so is a level that is just "-"; hence
// two different places never have the same key, and no level runs into the next.
type engineKey struct {
	partition, account, region string // empty where the level does not apply
	kind                       string
	id                         string
}

// maxEngineKey fits the longest key that AWS's limits allow unescaped with room to spare; a longer
// one only costs an allocation.
const maxEngineKey = 192

func (k engineKey) String() string { return string(k.append(nil)) }

// append does not allocate when b has room.
func (k engineKey) append(b []byte) []byte {
	b = k.appendScope(b)
	return appendLevel(b, k.id)
}

// appendScope writes everything in front of the id: the prefix of all keys of one kind.
func (k engineKey) appendScope(b []byte) []byte {
	b = appendOptional(b, k.partition)
	b = append(b, '/')
	b = appendOptional(b, k.account)
	b = append(b, '/')
	b = appendOptional(b, k.region)
	b = append(b, '/')
	b = append(b, k.kind...)
	return append(b, '/')
}

func appendOptional(b []byte, level string) []byte {
	if level == "" {
		return append(b, '-')
	}
	return appendLevel(b, level)
}

func appendLevel(b []byte, level string) []byte {
	const hex = "0123456789ABCDEF"
	if level == "-" {
		return append(b, "%2D"...)
	}
	plain := 0 // where the bytes begin that are written as they are
	for i := 0; i < len(level); i++ {
		if c := level[i]; escaped(c) {
			b = append(append(b, level[plain:i]...), '%', hex[c>>4], hex[c&15])
			plain = i + 1
		}
	}
	return append(b, level[plain:]...)
}

func escaped(c byte) bool { return c <= ' ' || c > '~' || c == '/' || c == '%' }

// parseLevel undoes appendLevel and refuses what appendLevel does not write.
func parseLevel(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", fmt.Errorf("engine key level %q ends in the middle of an escape", s)
		}
		c, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", fmt.Errorf("engine key level %q has a bad escape", s)
		}
		b.WriteByte(byte(c))
		i += 2
	}
	level := b.String()
	if string(appendLevel(nil, level)) != s {
		return "", fmt.Errorf("engine key level %q is not in its one form", s)
	}
	return level, nil
}
