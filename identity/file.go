package identity

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/ops"
)

// file is the content of one file. JSON is YAML.
type file struct {
	// Account is the account of the users and roles that do not name one: 12 digits.
	Account string     `yaml:"account"`
	Users   []fileUser `yaml:"users"`
	Roles   []fileRole `yaml:"roles"`
}

// entity is what users and roles have in common.
type entity struct {
	Account  string               `yaml:"account"`
	Name     string               `yaml:"name"`
	Path     string               `yaml:"path"` // "/" if it is not there
	ID       string               `yaml:"id"`   // AIDA... or AROA...; derived from the ARN if it is not there
	Created  time.Time            `yaml:"created"`
	Tags     map[string]string    `yaml:"tags"`
	Policies map[string]yaml.Node `yaml:"policies"` // identity policies by name
	Boundary yaml.Node            `yaml:"boundary"` // a permissions boundary
}

type fileUser struct {
	entity     `yaml:",inline"`
	AccessKeys []fileKey `yaml:"accessKeys"`
}

type fileRole struct {
	entity             `yaml:",inline"`
	Description        string    `yaml:"description"`
	Trust              yaml.Node `yaml:"trust"`
	MaxSessionDuration int       `yaml:"maxSessionDuration"` // seconds; 3600 if it is not there
	RevokedBefore      time.Time `yaml:"revokedBefore"`      // sessions that began before are refused
}

// fileKey is an access key. Its secret is never in the file itself.
type fileKey struct {
	ID         string `yaml:"id"`
	Sealed     string `yaml:"sealed"`     // what kms11 iam seal printed
	SecretFile string `yaml:"secretFile"` // a file that holds the secret and nothing else; its path is relative to the directory
	SecretEnv  string `yaml:"secretEnv"`  // the environment variable that holds it
	Disabled   bool   `yaml:"disabled"`
}

// parse reads one file of a directory into a set. It gives the files that secrets came from.
func parse(dir, name string, text []byte, environment func(string) (string, bool), into *ops.IdentitySet) (secretFiles []string, err error) {
	var f file
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("it holds more than one document")
	}
	for i := range f.Users {
		u := &f.Users[i]
		user := ops.FileUser{File: name, Path: u.Path, UserRecord: keystore.UserRecord{
			Account: cmp.Or(u.Account, f.Account), Name: u.Name, ID: u.ID, Created: u.Created,
		}}
		if user.Identity, err = u.identity(); err != nil {
			return nil, fmt.Errorf("user %s: %w", u.Name, err)
		}
		for _, k := range u.AccessKeys {
			if k.SecretFile != "" && !filepath.IsAbs(k.SecretFile) {
				k.SecretFile = filepath.Join(dir, k.SecretFile)
			}
			key, err := k.read(environment)
			if err != nil {
				return nil, fmt.Errorf("user %s: access key %s: %w", u.Name, k.ID, err)
			}
			if k.SecretFile != "" {
				secretFiles = append(secretFiles, k.SecretFile)
			}
			user.Keys = append(user.Keys, key)
		}
		into.Users = append(into.Users, user)
	}
	for i := range f.Roles {
		r := &f.Roles[i]
		role := ops.FileRole{File: name, Path: r.Path, RoleRecord: keystore.RoleRecord{
			Account: cmp.Or(r.Account, f.Account), Name: r.Name, ID: r.ID, Created: r.Created,
			Description: r.Description, MaxSessionSeconds: r.MaxSessionDuration, Revoked: r.RevokedBefore,
		}}
		if role.Identity, err = r.identity(); err == nil {
			role.Trust, err = document(&r.Trust)
		}
		if err != nil {
			return nil, fmt.Errorf("role %s: %w", r.Name, err)
		}
		into.Roles = append(into.Roles, role)
	}
	return secretFiles, nil
}

func (e *entity) identity() (i keystore.Identity, err error) {
	i.Tags = e.Tags
	if len(e.Policies) > 0 {
		i.Policies = make(map[string]json.RawMessage, len(e.Policies))
	}
	for name, node := range e.Policies {
		if i.Policies[name], err = document(&node); err != nil {
			return i, fmt.Errorf("policy %s: %w", name, err)
		}
	}
	if !e.Boundary.IsZero() {
		if i.Boundary, err = document(&e.Boundary); err != nil {
			return i, fmt.Errorf("boundary: %w", err)
		}
	}
	return i, nil
}

// read finds the secret of an access key where the file says that it is. No error holds it.
func (k *fileKey) read(environment func(string) (string, bool)) (ops.FileAccessKey, error) {
	key := ops.FileAccessKey{ID: k.ID, Disabled: k.Disabled}
	sources := 0
	for _, source := range []string{k.Sealed, k.SecretFile, k.SecretEnv} {
		if source != "" {
			sources++
		}
	}
	if sources != 1 {
		return key, errors.New("it has one of sealed, secretFile and secretEnv")
	}
	switch {
	case k.Sealed != "":
		var err error
		if key.Sealed, err = base64.StdEncoding.DecodeString(k.Sealed); err != nil {
			return key, errors.New("sealed is not base64")
		}
	case k.SecretFile != "":
		text, err := readBounded(k.SecretFile)
		if err != nil {
			return key, err
		}
		key.Secret = strings.TrimSpace(string(text))
	default:
		text, set := environment(k.SecretEnv)
		if !set {
			return key, fmt.Errorf("the environment variable %s is not set", k.SecretEnv)
		}
		key.Secret = text
	}
	return key, nil
}

// maxFile is the size of the largest file that is read, in bytes.
const maxFile = 4 << 20

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	return text, err
}
