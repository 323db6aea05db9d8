package audit

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/kms11/kms11/durable"
)

// segment is the file that records are being written to. It is not safe for concurrent use, but its
// file may be synced meanwhile.
type segment struct {
	dir     string
	name    string
	file    *os.File
	size    int64 // up to the end of the last whole write
	opened  time.Time
	retired []*os.File // full ones that are still to be synced
}

// create begins a new file.
func (s *segment) create(first uint64, now time.Time) error {
	name := eventsFile(first, now)
	file, err := os.OpenFile(filepath.Join(s.dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := durable.SyncDir(s.dir); err != nil {
		return errors.Join(err, file.Close(), os.Remove(file.Name()))
	}
	if s.file != nil {
		s.retired = append(s.retired, s.file)
	}
	s.name, s.file, s.size, s.opened = name, file, 0, now
	return nil
}

// reopen goes on with a file at an offset; what is behind it is cut off.
func (s *segment) reopen(name string, made time.Time, size int64) error {
	file, err := os.OpenFile(filepath.Join(s.dir, name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if err := file.Truncate(size); err != nil {
		return errors.Join(err, file.Close())
	}
	if _, err := file.Seek(size, io.SeekStart); err != nil {
		return errors.Join(err, file.Close())
	}
	s.name, s.file, s.size, s.opened = name, file, size, made
	return nil
}

// full says whether the next record is to go to a new file.
func (s *segment) full(bytes int64, age time.Duration, now time.Time) bool {
	return s.file == nil || s.size > 0 && (s.size >= bytes || now.Sub(s.opened) >= age)
}

// write writes records whole. What a failure left of them is cut off, if that can be done.
func (s *segment) write(records []byte) error {
	_, err := s.file.Write(records)
	if err != nil {
		_, seekErr := s.file.Seek(s.size, io.SeekStart)
		return errors.Join(err, s.file.Truncate(s.size), seekErr)
	}
	s.size += int64(len(records))
	return nil
}

// sync makes everything written so far durable.
func (s *segment) sync() error {
	if err := syncRetired(s.takeRetired()); err != nil {
		return err
	}
	if s.file == nil {
		return nil
	}
	return s.file.Sync()
}

func (s *segment) takeRetired() []*os.File {
	files := s.retired
	s.retired = nil
	return files
}

func syncRetired(files []*os.File) error {
	var errs []error
	for _, file := range files {
		errs = append(errs, file.Sync(), file.Close())
	}
	return errors.Join(errs...)
}

// abandon closes the file after a failure.
func (s *segment) abandon() {
	for _, file := range append(s.takeRetired(), s.file) {
		if file != nil {
			_ = file.Close() // the failure that led here is the one to report
		}
	}
	s.file = nil
}

func (s *segment) close() error {
	err := s.sync()
	if s.file != nil {
		err = errors.Join(err, s.file.Close())
	}
	s.file = nil
	return err
}
