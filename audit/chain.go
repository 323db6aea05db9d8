package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
)

// A record is an event with its place in the chain as the last member, on one line:
//
//	{…,"chain":{"sequence":7,"previous":"<64 hexadecimal digits>"}}\n
//
// previous is the SHA-256 of the line before, without its line break; 64 zeros in the first record.
const (
	chainStart    = `,"chain":{"sequence":`
	chainPrevious = `,"previous":"`
	chainEnd      = `"}}`
)

// head is the end of a chain: its last record.
type head struct {
	sequence uint64 // 0: there is no record yet
	hash     [sha256.Size]byte
}

var errEvent = errors.New("audit: an event is one JSON object")

// link appends the line of an event to b and gives the chain's new head.
func (h head) link(b, event []byte) ([]byte, head, error) {
	if len(event) < 2 || event[0] != '{' || event[len(event)-1] != '}' || bytes.IndexByte(event, '\n') >= 0 {
		return b, h, errEvent
	}
	start := len(b)
	next := head{sequence: h.sequence + 1}
	b = append(b, event[:len(event)-1]...)
	b = append(b, chainStart...)
	b = strconv.AppendUint(b, next.sequence, 10)
	b = append(b, chainPrevious...)
	b = hex.AppendEncode(b, h.hash[:])
	b = append(b, chainEnd...)
	next.hash = sha256.Sum256(b[start:])
	return append(b, '\n'), next, nil
}

// place is what a record says of its place.
type place struct {
	sequence uint64
	previous [sha256.Size]byte
}

var errNoPlace = errors.New("it does not end in its place in the chain")

// placeOf reads the place at the end of a line without its line break.
func placeOf(line []byte) (p place, err error) {
	const tail = len(chainPrevious) + 2*sha256.Size + len(chainEnd)
	if len(line) < tail || !bytes.HasSuffix(line, []byte(chainEnd)) {
		return p, errNoPlace
	}
	digits := line[len(line)-len(chainEnd)-2*sha256.Size:][:2*sha256.Size]
	if _, err := hex.Decode(p.previous[:], digits); err != nil || !bytes.Equal(hex.AppendEncode(nil, p.previous[:]), digits) {
		return p, errNoPlace
	}
	rest, ok := bytes.CutSuffix(line[:len(line)-len(chainEnd)-2*sha256.Size], []byte(chainPrevious))
	if !ok {
		return p, errNoPlace
	}
	i := bytes.LastIndex(rest, []byte(chainStart))
	if i < 0 {
		return p, errNoPlace
	}
	text := string(rest[i+len(chainStart):])
	p.sequence, err = strconv.ParseUint(text, 10, 64)
	if err != nil || p.sequence == 0 || strconv.FormatUint(p.sequence, 10) != text {
		return p, errNoPlace
	}
	return p, nil
}

// follows says whether a line comes right behind the head, and gives the head with it.
func (h head) follows(line []byte) (head, error) {
	p, err := placeOf(line)
	switch {
	case err != nil:
		return h, err
	case p.sequence != h.sequence+1:
		return h, errors.New("it does not have the next sequence number")
	case p.previous != h.hash:
		return h, errors.New("it does not name the record before it")
	}
	return head{p.sequence, sha256.Sum256(line)}, nil
}
