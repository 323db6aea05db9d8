package xks

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// A CredentialFile is what the AWS KMS console reads to connect an external key store: the JSON file
// of the specification. It prints without its secret.
type CredentialFile struct {
	URIPath    string               `json:"XksProxyUriPath"`
	Credential CredentialFileSecret `json:"XksProxyAuthenticationCredential"`
}

// CredentialFileSecret is the credential in a CredentialFile.
type CredentialFileSecret struct {
	AccessKeyID string `json:"AccessKeyId"`
	Secret      string `json:"RawSecretAccessKey"`
}

func (CredentialFile) String() string         { return "xks.CredentialFile(***)" }
func (CredentialFile) GoString() string       { return "xks.CredentialFile(***)" }
func (CredentialFileSecret) String() string   { return "xks.CredentialFileSecret(***)" }
func (CredentialFileSecret) GoString() string { return "xks.CredentialFileSecret(***)" }

// maxCredentialFile bounds what is read of a credential file, in bytes.
const maxCredentialFile = 16 << 10

// ReadCredentialFile reads and checks a credential file. No error shows what is in it.
func ReadCredentialFile(path string) (CredentialFile, error) {
	var c CredentialFile
	info, err := os.Stat(path)
	if err != nil {
		return c, err
	}
	if info.Mode().IsRegular() && info.Size() > maxCredentialFile {
		return c, fmt.Errorf("%s is longer than %d bytes", path, maxCredentialFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	defer clear(text)
	switch err := json.Unmarshal(text, &c); {
	case err != nil:
		return CredentialFile{}, fmt.Errorf("%s is not a JSON credential file of the AWS KMS console", path)
	case !ValidURIPath(c.URIPath):
		err = errors.New("XksProxyUriPath is not an optional prefix and " + APIRoot)
		return CredentialFile{}, fmt.Errorf("%s: %w", path, err)
	case !ValidAccessKeyID(c.Credential.AccessKeyID):
		return CredentialFile{}, fmt.Errorf("%s: AccessKeyId is not 20 to 30 of A to Z and 2 to 7", path)
	case !ValidSecret(c.Credential.Secret):
		return CredentialFile{}, fmt.Errorf("%s: RawSecretAccessKey is not 43 to 64 of the letters, the digits, /, + and =", path)
	}
	return c, nil
}

// filesLooked is how often credential files are looked at for changes.
const filesLooked = time.Second

// CredentialFiles are credentials in files, which their owners may change, add or take away while
// the proxy runs: a change counts within about a second. A file that cannot be read gives no
// credential. They are safe for concurrent use.
type CredentialFiles struct {
	paths []string
	log   *slog.Logger

	mu     sync.Mutex
	looked time.Time
	files  map[string]watchedFile     // by path
	byID   map[string]*CredentialFile // by access key id
}

// watchedFile is what a file was when it was read.
type watchedFile struct {
	modified time.Time
	size     int64
	content  *CredentialFile // nil if it could not be read
}

// NewCredentialFiles reads the files. All have to be readable now.
func NewCredentialFiles(paths []string, log *slog.Logger) (*CredentialFiles, error) {
	f := &CredentialFiles{paths: paths, log: log, files: map[string]watchedFile{}}
	for _, path := range paths {
		if _, err := ReadCredentialFile(path); err != nil {
			return nil, err
		}
	}
	f.look(time.Now())
	return f, nil
}

// find gives the secret of an access key and its tenant's prefix.
func (f *CredentialFiles) find(accessKeyID string) (secret, prefix string, found bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.Sub(f.looked) >= filesLooked {
		f.look(now)
	}
	c, found := f.byID[accessKeyID]
	if !found {
		return "", "", false
	}
	return c.Credential.Secret, PrefixOf(c.URIPath), true
}

// look reads the files that changed. mu is held, or nobody else has f yet.
func (f *CredentialFiles) look(now time.Time) {
	f.looked, f.byID = now, map[string]*CredentialFile{}
	for _, path := range f.paths {
		known, seen := f.files[path]
		info, err := os.Stat(path)
		if err != nil {
			if seen && known.content != nil {
				f.log.Warn("a credential file is gone: its credential is refused", "file", path)
			}
			delete(f.files, path)
			continue
		}
		if !seen || known.modified != info.ModTime() || known.size != info.Size() {
			known = watchedFile{modified: info.ModTime(), size: info.Size()}
			if c, err := ReadCredentialFile(path); err != nil {
				f.log.Warn("a credential file cannot be read: its credential is refused", "error", err)
			} else {
				known.content = &c
				f.log.Info("credential file read", "file", path, "accessKeyId", c.Credential.AccessKeyID)
			}
			f.files[path] = known
		}
		if known.content != nil {
			f.byID[known.content.Credential.AccessKeyID] = known.content
		}
	}
}
