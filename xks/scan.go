package xks

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/kms11/kms11/kms"
)

// A scanner reads a JSON text once, from its beginning to its end, and takes no text that encoding/json
// would not take. It is for objects of few members that are looked for by their very names: the members
// that nobody looks for are passed over.
type scanner struct {
	text  []byte
	at    int
	depth int // how many brackets are open
}

var errJSON = errors.New("not JSON, or not of the type that is wanted")

// A jsonMember is one that an object may have, and how its value gets into what the object becomes. read
// finds the scanner at the first byte of the value, which is not null.
type jsonMember[T any] struct {
	name string
	read func(into T, s *scanner) error
}

// members reads an object. A member that is null is as good as none; one that is there twice could mean
// either, so the object is refused. Behind a member that is refused the others are read all the same: the
// log tells whose request it is.
func members[T any](s *scanner, known []jsonMember[T], into T) error {
	if !s.takes('{') {
		return errJSON
	}
	s.depth++
	defer func() { s.depth-- }()
	if s.takes('}') {
		return nil
	}
	seen := 0 // a bit for each of known
	var refused error
	for {
		name, err := s.str()
		if err != nil || !s.takes(':') {
			return errJSON
		}
		s.space()
		found := -1
		for i := range known {
			if string(name) == known[i].name {
				found = i
				break
			}
		}
		switch {
		case found < 0:
			err = s.skip()
		case seen&(1<<found) != 0:
			refused = errJSON
			err = s.skip()
		case s.null():
			seen |= 1 << found
		default:
			seen |= 1 << found
			start := s.at
			if wrong := known[found].read(into, s); wrong != nil {
				refused = wrong
				s.at = start
				err = s.skip()
			}
		}
		if err != nil {
			return err
		}
		if s.takes('}') {
			return refused
		}
		if !s.takes(',') {
			return errJSON
		}
		s.space()
	}
}

// end says whether nothing but space is left.
func (s *scanner) end() bool {
	s.space()
	return s.at == len(s.text)
}

func (s *scanner) space() { s.at = kms.JSONSpaceEnd(s.text, s.at) }

// takes passes a byte of the grammar with the space on both its sides, if it is the next.
func (s *scanner) takes(c byte) bool {
	s.space()
	if s.at == len(s.text) || s.text[s.at] != c {
		return false
	}
	s.at++
	s.space()
	return true
}

// null passes a null, if it is the next. What follows it is judged by whoever reads on.
func (s *scanner) null() bool {
	rest, is := bytes.CutPrefix(s.text[s.at:], []byte("null"))
	if is {
		s.at = len(s.text) - len(rest)
	}
	return is
}

// str reads a string. What it gives is a part of the text wherever the string has no escape.
func (s *scanner) str() ([]byte, error) {
	end := kms.JSONStringEnd(s.text, s.at)
	if end < 0 {
		return nil, errJSON
	}
	quoted := s.text[s.at:end]
	s.at = end
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner, nil
	}
	var unescaped string
	if json.Unmarshal(quoted, &unescaped) != nil {
		return nil, errJSON
	}
	return []byte(unescaped), nil
}

// skip goes behind any value.
func (s *scanner) skip() error {
	end := kms.JSONValueEnd(s.text, s.at, s.depth)
	if end < 0 {
		return errJSON
	}
	s.at = end
	return nil
}
