package audit

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"
	"time"
)

// Lines gives the records of a trail's directory from a sequence number on, in their order, each
// without its line break and good until the next. It checks nothing. An error comes last.
func Lines(dir string, from uint64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		files, err := listFiles(dir, eventsName)
		if err != nil {
			yield(nil, err)
			return
		}
		for i := range files {
			if i+1 < len(files) && files[i+1].number <= from {
				continue
			}
			if !fileLines(filepath.Join(dir, files[i].name), from, yield) {
				return
			}
		}
	}
}

// fileLines says whether to go on with the next file.
func fileLines(path string, from uint64, yield func([]byte, error) bool) bool {
	file, err := os.Open(path)
	if err != nil {
		return yield(nil, err)
	}
	defer file.Close()
	lines := bufio.NewReaderSize(file, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return true // what has no end is not a record yet
		}
		if err != nil {
			return yield(nil, err)
		}
		line = line[:len(line)-1]
		if p, err := placeOf(line); err == nil && p.sequence < from {
			continue
		}
		if !yield(line, nil) {
			return false
		}
	}
}

// eventID gives the id in a record. It is the last member of this name: only request parameters,
// which come before it, can have one that a caller chose.
func eventID(line []byte) string {
	const member = `,"eventID":"`
	i := bytes.LastIndex(line, []byte(member))
	if i < 0 {
		return ""
	}
	id, _, _ := bytes.Cut(line[i+len(member):], []byte{'"'})
	return string(id)
}

// Recorded tells which of the ids are in records behind a sequence number.
func (t *Trail) Recorded(after uint64, ids map[string]bool) (map[string]bool, error) {
	found := map[string]bool{}
	for line, err := range Lines(t.c.Dir, after+1) {
		if err != nil {
			return nil, err
		}
		if id := eventID(line); ids[id] {
			found[id] = true
		}
	}
	return found, nil
}

// Follow gives the records from a sequence number on, and then those that are written, until ctx
// ends.
func Follow(ctx context.Context, dir string, from uint64, show func(line []byte) error) error {
	const pause = 200 * time.Millisecond
	at := follower{dir: dir, from: from}
	for {
		if err := at.advance(show); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// follower is a place in a growing trail.
type follower struct {
	dir    string
	from   uint64
	name   string // of the file; empty: none yet
	offset int64
}

// advance shows what has come since the last time.
func (f *follower) advance(show func([]byte) error) error {
	files, err := listFiles(f.dir, eventsName)
	if err != nil {
		return err
	}
	for i, file := range files {
		if file.name < f.name || i+1 < len(files) && files[i+1].number <= f.from {
			continue
		}
		if file.name != f.name {
			f.name, f.offset = file.name, 0
		}
		if err := f.read(show); err != nil {
			return err
		}
	}
	return nil
}

func (f *follower) read(show func([]byte) error) error {
	file, err := os.Open(filepath.Join(f.dir, f.name))
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Seek(f.offset, io.SeekStart); err != nil {
		return err
	}
	lines := bufio.NewReaderSize(file, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		f.offset += int64(len(line))
		line = line[:len(line)-1]
		if p, err := placeOf(line); err == nil && p.sequence < f.from {
			continue
		}
		if err := show(line); err != nil {
			return err
		}
	}
}

// LastSequence gives the number of the last record in a directory, 0 if there is none.
func LastSequence(dir string) (uint64, error) {
	files, err := listFiles(dir, eventsName)
	if err != nil {
		return 0, err
	}
	for i := len(files) - 1; i >= 0; i-- {
		last, err := lastOf(filepath.Join(dir, files[i].name))
		if last > 0 || err != nil {
			return last, err
		}
	}
	return 0, nil
}

// lastOf gives the number of the last record in a file.
func lastOf(path string) (uint64, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	for span := int64(64 << 10); ; span *= 4 {
		start := max(size-span, 0)
		tail := make([]byte, size-start)
		if _, err := file.ReadAt(tail, start); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		end := bytes.LastIndexByte(tail, '\n')
		if end >= 0 {
			begin := bytes.LastIndexByte(tail[:end], '\n') + 1
			if begin > 0 || start == 0 {
				p, err := placeOf(tail[begin:end])
				if err != nil {
					return 0, nil // Verify says what it is
				}
				return p.sequence, nil
			}
		}
		if start == 0 {
			return 0, nil
		}
	}
}
