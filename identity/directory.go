package identity

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/kms11/kms11/ops"
)

// A Directory is a directory of identity files: *.yaml, *.yml and *.json, those whose names begin with
// a dot and subdirectories apart. The files together are one set.
type Directory struct {
	path        string
	environment func(string) (string, bool)
	use         func(context.Context, ops.IdentitySet) error
	refuse      func(error)
	log         *slog.Logger

	stamp   string    // of all files when they were last read
	secrets []string  // files that secrets came from then
	read    time.Time // when that was
	failure string    // why the last reading was refused; empty if it was not
}

// Open reads a directory for the first time, which has to succeed. The environment is what secretEnv
// looks into.
func Open(ctx context.Context, path string, service *ops.Service, environment func(string) (string, bool), log *slog.Logger) (*Directory, error) {
	d := &Directory{path: path, environment: environment, use: service.UseIdentities, refuse: service.RefuseIdentities, log: log}
	if err := d.load(ctx); err != nil {
		return nil, fmt.Errorf("identities: %w", err)
	}
	return d, nil
}

// SecretFiles are the files that secrets of access keys were read from. Not for use while Follow runs.
func (d *Directory) SecretFiles() []string { return d.secrets }

// interval is how often the directory is looked at.
const interval = 2 * time.Second

// Follow looks at the directory every two seconds, and at once when something comes from now, until
// ctx ends. What was changed is read anew. A set that is refused is logged, and the one before stays.
func (d *Directory) Follow(ctx context.Context, now <-chan os.Signal) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-now:
			d.reload(ctx, true)
		case <-ticker.C:
			d.reload(ctx, false)
		}
	}
}

// reload reads the directory if it has changed, or must. What was refused is tried again, because the
// token or the store may have been the cause; the same refusal is logged once.
func (d *Directory) reload(ctx context.Context, must bool) {
	if !must && d.failure == "" && !d.changed() {
		return
	}
	switch err := d.load(ctx); {
	case ctx.Err() != nil:
	case err != nil:
		d.refuse(err)
		if d.failure != err.Error() {
			d.failure = err.Error()
			d.log.Error("the identities directory is refused; what it said before stays", "directory", d.path, "error", err)
		}
	default:
		d.failure = ""
		d.log.Info("identities read", "directory", d.path)
	}
}

// load reads the directory and hands it over as a whole.
func (d *Directory) load(ctx context.Context) error {
	d.read = time.Now()
	names, err := d.files()
	if err != nil {
		return err
	}
	// The stamps come first: what is written from now on makes them others.
	stamp := stampOf(names)
	var set ops.IdentitySet
	var secrets []string
	for _, name := range names {
		text, err := readBounded(name)
		if err != nil {
			return err
		}
		more, err := parse(d.path, filepath.Base(name), text, d.environment, &set)
		if err != nil {
			return fmt.Errorf("%s: %s", filepath.Base(name), oneLine(err))
		}
		secrets = append(secrets, more...)
	}
	if err := d.use(ctx, set); err != nil {
		return err
	}
	d.stamp, d.secrets = stamp+stampOf(secrets), secrets
	return nil
}

// changed says whether the files are others than when they were read. A file that was written just
// before it was read may have been written again within what the file system tells apart, so it is
// read again once more time has passed.
func (d *Directory) changed() bool {
	names, err := d.files()
	if err != nil {
		return true
	}
	if stampOf(names)+stampOf(d.secrets) != d.stamp {
		return true
	}
	for _, name := range slices.Concat(names, d.secrets) {
		info, err := os.Stat(name)
		if err != nil {
			continue
		}
		if age := d.read.Sub(info.ModTime()); age > -time.Second && age < time.Second && time.Since(d.read) > time.Second {
			return true
		}
	}
	return false
}

// files are the paths of the directory's files, in their order.
func (d *Directory) files() (paths []string, err error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, ".") || !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(name)) {
			continue
		}
		path := filepath.Join(d.path, name)
		info, err := os.Stat(path) // through symbolic links, as Kubernetes mounts files
		if errors.Is(err, fs.ErrNotExist) {
			continue // it went, or is a link into nowhere
		}
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			paths = append(paths, path)
		}
	}
	return paths, nil
}

// stampOf tells the states of files apart.
func stampOf(paths []string) string {
	var stamp strings.Builder
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			fmt.Fprintf(&stamp, "%q none\n", path)
			continue
		}
		var inode uint64
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			inode = stat.Ino
		}
		fmt.Fprintf(&stamp, "%q %d %d %d\n", path, info.Size(), info.ModTime().UnixNano(), inode)
	}
	return stamp.String()
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
