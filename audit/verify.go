package audit

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// VerifyOptions say what a trail is to be held against. The zero value takes the public keys in the
// directory, which tells of mistakes but not of somebody who can write there and makes a key.
type VerifyOptions struct {
	// Keys are the public keys that may have signed; none: those in the directory.
	Keys []*ecdsa.PublicKey
	// Partial accepts that the oldest files and digests were taken away: the trail begins at the
	// first digest that is there.
	Partial bool
	// AtLeast is a sequence number that the trail has to reach; 0: none is known.
	AtLeast uint64
}

// Report is what Verify found.
type Report struct {
	Records  uint64    `json:"records"`
	First    uint64    `json:"first"` // sequence numbers
	Last     uint64    `json:"last"`
	Digests  int       `json:"digests"`
	Covered  uint64    `json:"covered"`  // the last record that a digest vouches for
	Findings []Finding `json:"findings"` // what is wrong; none: the trail is whole
	Notes    []Finding `json:"notes"`    // what the trail itself tells of: crashes, gaps
	Cut      bool      `json:"cut,omitempty"`
}

// Finding is one thing that is wrong, and where.
type Finding struct {
	File     string `json:"file"`
	Line     int    `json:"line,omitempty"`     // from 1
	Sequence uint64 `json:"sequence,omitempty"` // of the record
	Problem  string `json:"problem"`
}

func (f Finding) String() string {
	s := f.File
	if f.Line > 0 {
		s += fmt.Sprintf(" line %d", f.Line)
	}
	if f.Sequence > 0 {
		s += fmt.Sprintf(" (record %d)", f.Sequence)
	}
	return s + ": " + f.Problem
}

// maxFindings ends a report: what follows is as broken.
const maxFindings = 100

// verifier is one run of Verify.
type verifier struct {
	dir     string
	options VerifyOptions
	report  Report
	keys    map[string]*ecdsa.PublicKey // by fingerprint
	pending map[string][]promise        // by file, in their order
	any     bool                        // a record was seen
	head    head
}

// Verify checks a whole trail offline: that the chain holds from the first record to the last, that
// the digests are a chain of their own with good signatures, and that both agree. The error is about
// files that cannot be read; what is wrong with the trail is in the report.
//
// Records that no digest covers yet are chained but not signed: whoever can write the files can
// replace them, or cut them off. So can somebody cut off the newest digests with all that follows:
// Report.Last and AtLeast are there to compare with what was known elsewhere.
func Verify(dir string, o VerifyOptions) (*Report, error) {
	v := &verifier{dir: dir, options: o, keys: map[string]*ecdsa.PublicKey{}, pending: map[string][]promise{}}
	if err := v.loadKeys(); err != nil {
		return nil, err
	}
	first, err := v.digests()
	if err != nil {
		return nil, err
	}
	if err := v.records(first); err != nil {
		return nil, err
	}
	for file, promises := range v.pending {
		for _, p := range promises {
			v.found(Finding{File: file, Sequence: p.LastSequence, Problem: fmt.Sprintf("the file or its records up to this one are gone: digest %s covers them", p.digest)})
		}
	}
	if o.AtLeast > v.report.Last {
		v.found(Finding{File: dir, Sequence: v.report.Last, Problem: fmt.Sprintf("the trail ends here, but record %d is known to exist: its end was cut off", o.AtLeast)})
	}
	return &v.report, nil
}

func (v *verifier) found(f Finding) {
	if len(v.report.Findings) == maxFindings {
		v.report.Cut = true
		return
	}
	v.report.Findings = append(v.report.Findings, f)
}

// records follows the chain through all files.
func (v *verifier) records(first uint64) error {
	files, err := listFiles(v.dir, eventsName)
	if err != nil {
		return err
	}
	for i := range files {
		if v.options.Partial && i+1 < len(files) && files[i+1].number <= first {
			delete(v.pending, files[i].name)
			continue // older than anything that a digest here vouches for
		}
		if err := v.file(files[i], i+1 == len(files)); err != nil {
			return err
		}
	}
	return nil
}

// file follows the chain through one file.
func (v *verifier) file(named namedFile, last bool) error {
	file, err := os.Open(filepath.Join(v.dir, named.name))
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewReaderSize(file, 1<<20)
	promises := v.pending[named.name]
	var offset int64
	for number := 1; ; number++ {
		line, err := readLine(lines, last)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if err != nil && len(line) == 0 {
			break
		}
		at := Finding{File: named.name, Line: number}
		if err != nil {
			at.Problem = fmt.Sprintf("the last record is cut off after %d bytes", len(line))
			v.found(at)
			break
		}
		offset += int64(len(line))
		line = line[:len(line)-1]
		v.line(at, line, number == 1, named.number)
		for len(promises) > 0 && offset >= promises[0].Size {
			v.keep(at, promises[0], offset)
			promises = promises[1:]
		}
	}
	if v.pending[named.name] = promises; len(promises) == 0 {
		delete(v.pending, named.name)
	}
	return nil
}

// readLine reads one line. The end of the newest file may be in the middle of being written: then it
// is given a moment.
func readLine(lines *bufio.Reader, live bool) ([]byte, error) {
	line, err := lines.ReadBytes('\n')
	for tries := 0; live && errors.Is(err, io.EOF) && len(line) > 0 && tries < 5; tries++ {
		time.Sleep(100 * time.Millisecond)
		var rest []byte
		rest, err = lines.ReadBytes('\n')
		line = append(line, rest...)
	}
	return line, err
}

// line checks one record against the one before.
func (v *verifier) line(at Finding, line []byte, firstOfFile bool, fileNumber uint64) {
	p, err := placeOf(line)
	if err == nil && !json.Valid(line) {
		err = errors.New("it is not JSON")
	}
	if err != nil {
		at.Problem = fmt.Sprintf("it is not a record, or was changed: %v", err)
		v.found(at)
		v.head = head{v.head.sequence + 1, sha256.Sum256(line)} // so that one fault is one finding
		return
	}
	at.Sequence = p.sequence
	switch {
	case !v.any && (v.options.Partial || p.sequence == 1):
		if p.sequence == 1 && p.previous != (head{}).hash {
			at.Problem = "it is the first record and names one before it"
			v.found(at)
		}
	case !v.any:
		at.Problem = fmt.Sprintf("records 1 to %d are missing", p.sequence-1)
		v.found(at)
	case p.sequence > v.head.sequence+1:
		at.Problem = fmt.Sprintf("records %d to %d are missing before it", v.head.sequence+1, p.sequence-1)
		v.found(at)
	case p.sequence <= v.head.sequence:
		at.Problem = fmt.Sprintf("it comes after record %d: records were reordered, repeated or inserted", v.head.sequence)
		v.found(at)
	case p.previous != v.head.hash:
		at.Problem = fmt.Sprintf("the record before it, %d, is not the one that it names: that one was changed or replaced", v.head.sequence)
		v.found(at)
	}
	if firstOfFile && fileNumber != p.sequence {
		at.Problem = fmt.Sprintf("the file is named after record %d: it was renamed, or its beginning was removed", fileNumber)
		v.found(at)
	}
	if !v.any {
		v.report.First = p.sequence
	}
	v.any = true
	v.head = head{p.sequence, sha256.Sum256(line)}
	v.report.Records++
	v.report.Last = p.sequence
	v.note(at, line)
}

// keep compares a record with what a digest says of it.
func (v *verifier) keep(at Finding, p promise, offset int64) {
	at.Sequence = v.head.sequence
	switch {
	case offset != p.Size || v.head.sequence != p.LastSequence:
		at.Problem = fmt.Sprintf("record %d is to end at byte %d, as digest %s says, and record %d ends at byte %d: records were changed, removed or inserted before", p.LastSequence, p.Size, p.digest, v.head.sequence, offset)
	case hex.EncodeToString(v.head.hash[:]) != p.Hash:
		at.Problem = fmt.Sprintf("it is not the record that digest %s vouches for: it, or one before it, was changed", p.digest)
	default:
		return
	}
	v.found(at)
}

// note reports what the trail tells of itself.
func (v *verifier) note(at Finding, line []byte) {
	if !bytes.Contains(line, []byte(`"eventSource":"`+SourceTrail+`"`)) {
		return
	}
	var own struct {
		EventSource string
		EventName   string
		EventTime   string
		Details     struct {
			File, Saved, SHA256, Reason  string
			Bytes, Refused, Withheld     uint64
			Sequence, FoundSequence      uint64
			DigestNumber, FoundDigestNum uint64
		} `json:"serviceEventDetails"`
	}
	if err := json.Unmarshal(line, &own); err != nil || own.EventSource != SourceTrail {
		return
	}
	d := own.Details
	switch own.EventName {
	case eventTruncate:
		at.Problem = fmt.Sprintf("%s: %d half-written bytes at the end of %s were moved to %s when the trail was opened after a crash", own.EventTime, d.Bytes, d.File, d.Saved)
		v.saved(at, d.Saved, d.SHA256)
	case eventResume:
		at.Problem = fmt.Sprintf("%s: the trail goes on after it could not be written (%s): %d events were refused, %d answers withheld", own.EventTime, d.Reason, d.Refused, d.Withheld)
	case eventMissing:
		at.Problem = fmt.Sprintf("%s: when it was opened the trail ended at record %d, and the keystore knew of record %d: its end was removed", own.EventTime, d.FoundSequence, d.Sequence)
	default:
		return
	}
	v.report.Notes = append(v.report.Notes, at)
}

// saved checks what was moved aside.
func (v *verifier) saved(at Finding, name, hash string) {
	content, err := os.ReadFile(filepath.Join(v.dir, filepath.Base(name)))
	if err != nil {
		at.Problem = fmt.Sprintf("what was moved aside to %s is gone", name)
		v.found(at)
		return
	}
	if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != hash {
		at.File, at.Line = name, 0
		at.Problem = "it is not what was moved aside: it was changed"
		v.found(at)
	}
}
