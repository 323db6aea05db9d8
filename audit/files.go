package audit

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// The files of a trail's directory:
//
//	events-<first sequence number, 20 digits>-<UTC time>.jsonl   records
//	digest/digest-<number, 10 digits>-<UTC time>.json            digests
//	keys/<fingerprint>.pem                                       public keys of digests
//	torn-<sequence number, 20 digits>-<UTC time>.bin             what a crash left half written
//
// In both the order of names is that of contents.
const (
	digestDir  = "digest"
	keysDir    = "keys"
	fileTime   = "20060102T150405Z"
	eventsForm = "events-%020d-%s.jsonl"
	digestForm = "digest-%010d-%s.json"
	tornForm   = "torn-%020d-%s.bin"
)

var (
	eventsName = regexp.MustCompile(`^events-([0-9]{20})-([0-9]{8}T[0-9]{6}Z)\.jsonl$`)
	digestName = regexp.MustCompile(`^digest-([0-9]{10})-([0-9]{8}T[0-9]{6}Z)\.json$`)
)

// A namedFile is a file with the number and the time in its name.
type namedFile struct {
	name   string
	number uint64
	made   time.Time
}

func eventsFile(first uint64, now time.Time) string {
	return fmt.Sprintf(eventsForm, first, now.UTC().Format(fileTime))
}

// listFiles gives the files of dir whose names have a form, in their order. A directory that is not
// there has none.
func listFiles(dir string, form *regexp.Regexp) ([]namedFile, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var files []namedFile
	for _, entry := range entries {
		parts := form.FindStringSubmatch(entry.Name())
		if parts == nil {
			continue
		}
		f := namedFile{name: entry.Name()}
		if f.number, err = strconv.ParseUint(parts[1], 10, 64); err != nil {
			continue
		}
		if f.made, err = time.Parse(fileTime, parts[2]); err != nil {
			continue
		}
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b namedFile) int {
		if a.number != b.number {
			return int(min(max(int64(a.number)-int64(b.number), -1), 1))
		}
		return a.made.Compare(b.made)
	})
	return files, nil
}
