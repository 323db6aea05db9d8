// Package durable puts files on a disk so that a crash loses nothing of them.
package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// WriteFile puts a file in place so that a crash leaves either the old content, if any, or the new
// one, never a part: write beside it, fsync, rename, fsync the directory. The mode is 0600.
func WriteFile(path string, content []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // fails once the file has been renamed
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir has the names in a directory survive a crash (fsync(2): a file's own fsync does not).
func SyncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
