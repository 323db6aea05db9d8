package audit

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/kms11/kms11/durable"
)

// found is what Open found in the directory.
type found struct {
	head   head
	digest lastDigest
	spans  []span
	file   string // to go on with; empty: there is none
	made   time.Time
	size   int64
	torn   *torn
}

// torn is a half-written end that was moved aside.
type torn struct {
	file          string
	offset, bytes int64
	saved, hash   string
}

// missing gives the anchor if the trail does not reach as far, or has another digest in its place.
func (f *found) missing(want *Anchor) *Anchor {
	if want == nil || f.digest.number == want.Digest && f.digest.hash == want.Hash && f.head.sequence >= want.Sequence ||
		f.digest.number > want.Digest && f.head.sequence >= want.Sequence {
		return nil
	}
	return want
}

// recover finds the end of the chain. It begins at what the last digest covers, or at the last file
// where there is no digest, and follows the chain as far as it holds. What comes after that is moved
// aside: after a crash of the machine that is what was not durable yet. That nothing before was
// changed, and no file is missing, is Verify's business.
func (t *Trail) recover() (*found, error) {
	files, err := listFiles(t.c.Dir, eventsName)
	if err != nil {
		return nil, err
	}
	f := &found{}
	if f.digest, err = readLastDigest(t.c.Dir); err != nil {
		return nil, err
	}
	f.head = f.digest.head
	i, offset := f.begin(files)
	for ; i < len(files); i++ {
		first := f.head.sequence + 1
		end, err := f.follow(filepath.Join(t.c.Dir, files[i].name), offset)
		if err != nil {
			return nil, err
		}
		if f.head.sequence >= first {
			f.spans = append(f.spans, span{file: files[i].name, first: first, last: f.head, end: end})
		}
		f.file, f.made, f.size = files[i].name, files[i].made, end
		whole, err := isEnd(filepath.Join(t.c.Dir, files[i].name), end)
		if err != nil {
			return nil, err
		}
		if !whole {
			return f, t.moveAside(f, files[i:], end)
		}
		offset = 0
	}
	return f, nil
}

// begin gives the index of the first file to follow, and the offset in it.
func (f *found) begin(files []namedFile) (int, int64) {
	for i := range files {
		if files[i].name == f.digest.file {
			return i, f.digest.end
		}
	}
	if len(files) == 0 {
		return 0, 0
	}
	if f.digest.number == 0 || files[len(files)-1].number <= f.digest.sequence {
		// No digest yet, or one whose file is gone: the last file says where its chain begins.
		f.head = head{}
		return len(files) - 1, 0
	}
	for i := range files {
		if files[i].number > f.digest.sequence {
			return i, 0
		}
	}
	return len(files), 0
}

// follow reads records behind the head from an offset on and moves the head, as far as the chain
// holds. It gives the offset behind the last good record.
func (f *found) follow(path string, offset int64) (int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	if size, err := file.Seek(0, io.SeekEnd); err != nil || size < offset {
		return min(size, offset), err // cut behind a digest: Verify tells
	}
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return 0, err
	}
	lines := bufio.NewReaderSize(file, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if err != nil {
			return offset, nil // the rest, if there is one, has no end
		}
		line = line[:len(line)-1]
		if offset == 0 {
			// A file that is not the next one: its own word counts. Nothing is torn here, but missing.
			if p, err := placeOf(line); err == nil && p.sequence != f.head.sequence+1 {
				f.head = head{p.sequence - 1, p.previous}
			}
		}
		next, err := f.head.follows(line)
		if err != nil || !json.Valid(line) { // a hole in a record leaves its end
			return offset, nil
		}
		f.head = next
		offset += int64(len(line)) + 1
	}
}

func isEnd(path string, offset int64) (bool, error) {
	info, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	return info.Size() <= offset, nil
}

// moveAside saves what is behind an offset of the first file, and all further files, and cuts it
// off. A crash in between is harmless: it is done again.
func (t *Trail) moveAside(f *found, files []namedFile, offset int64) error {
	var rest bytes.Buffer
	for i, file := range files {
		content, err := os.ReadFile(filepath.Join(t.c.Dir, file.name))
		if err != nil {
			return err
		}
		if i == 0 {
			content = content[offset:]
		}
		rest.Write(content)
	}
	hash := sha256.Sum256(rest.Bytes())
	saved := fmt.Sprintf(tornForm, f.head.sequence+1, t.now().UTC().Format(fileTime))
	if err := durable.WriteFile(filepath.Join(t.c.Dir, saved), rest.Bytes()); err != nil {
		return err
	}
	for _, file := range files[1:] {
		if err := os.Remove(filepath.Join(t.c.Dir, file.name)); err != nil {
			return err
		}
	}
	if err := os.Truncate(filepath.Join(t.c.Dir, files[0].name), offset); err != nil {
		return err
	}
	f.torn = &torn{file: files[0].name, offset: offset, bytes: int64(rest.Len()), saved: saved, hash: hex.EncodeToString(hash[:])}
	return durable.SyncDir(t.c.Dir)
}
