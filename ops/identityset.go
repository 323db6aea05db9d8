package ops

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/keystore"
)

// IdentitySet is what the files of an identities directory say, read as a whole.
type IdentitySet struct {
	Users []FileUser
	Roles []FileRole
}

// FileUser is a user that a file describes. Of the record, Partition, ARN and AccessKeys are left
// empty, ID and Created may be.
type FileUser struct {
	File string // for messages
	Path string // "/" if empty
	keystore.UserRecord
	Keys []FileAccessKey
}

// FileAccessKey is an access key that a file describes. Exactly one of Secret and Sealed is set.
type FileAccessKey struct {
	ID       string
	Secret   string // read from a file or the environment
	Sealed   []byte // what SealAccessKey made
	Disabled bool
}

// FileRole is a role that a file describes. Of the record, Partition and ARN are left empty; ID,
// Created and MaxSessionSeconds may be.
type FileRole struct {
	File string // for messages
	Path string // "/" if empty
	keystore.RoleRecord
}

// identitySet is an IdentitySet that has been checked and made ready. It is never changed.
type identitySet struct {
	users map[keystore.UserID]*keystore.UserRecord
	roles map[keystore.RoleID]*keystore.RoleRecord
	keys  map[string]*fileKey
	from  map[any]string // the file of a UserID or a RoleID

	loaded  time.Time
	problem string // why a later set was refused
}

type fileKey struct {
	secret   string
	disabled bool
	user     *keystore.UserRecord
	caller   *Caller
	sealedBy uint32 // version of the sealing key; 0 for a secret that was not sealed
}

// holds says whether any of the set's principals is of an account.
func (set *identitySet) holds(partition, account string) bool {
	for id := range set.users {
		if id.Partition == partition && id.Account == account {
			return true
		}
	}
	for id := range set.roles {
		if id.Partition == partition && id.Account == account {
			return true
		}
	}
	return false
}

// UseIdentities takes a set in place of the one before, as a whole, from the next request on. A set
// with a mistake is refused and the one before stays: the mistake can be a name or a policy as no
// administrator could make them, two principals or access keys of the same name, one that the
// keystore has, or a secret that the token does not open. The audit trail tells of a set before it is
// in use.
func (s *Service) UseIdentities(ctx context.Context, set IdentitySet) error {
	ready := &identitySet{
		users:  make(map[keystore.UserID]*keystore.UserRecord),
		roles:  make(map[keystore.RoleID]*keystore.RoleRecord),
		keys:   make(map[string]*fileKey),
		from:   make(map[any]string),
		loaded: s.now(),
	}
	for i := range set.Users {
		if err := s.useUser(ctx, ready, &set.Users[i]); err != nil {
			return fmt.Errorf("%s: user %s: %w", set.Users[i].File, set.Users[i].Name, err)
		}
	}
	for i := range set.Roles {
		if err := s.useRole(ctx, ready, &set.Roles[i]); err != nil {
			return fmt.Errorf("%s: role %s: %w", set.Roles[i].File, set.Roles[i].Name, err)
		}
	}
	if err := s.recordIdentities(ready); err != nil {
		return err
	}
	s.files.Store(ready)
	return nil
}

// RefuseIdentities says that the directory is not what it should be; what it said before stays.
// The administrator sees why.
func (s *Service) RefuseIdentities(why error) {
	refused := *s.files.Load()
	refused.problem = why.Error()
	s.files.Store(&refused)
}

var errTwice = errors.New("it is there twice")

func (s *Service) useUser(ctx context.Context, set *identitySet, f *FileUser) error {
	user := f.UserRecord.Clone()
	path, err := s.place(&user.Partition, user.Account, user.Name, f.Path)
	if err != nil {
		return err
	}
	user.ARN = entityARN(user.Partition, user.Account, "user", path, user.Name)
	if user.ID == "" {
		user.ID = derivedUniqueID(userIDPrefix, user.ARN, user.Created)
	}
	if err := checkIdentity(&user.Identity); err != nil {
		return err
	}
	if set.users[user.UserID()] != nil {
		return errTwice
	}
	if _, err := s.store.User(ctx, user.UserID()); !errors.Is(err, keystore.ErrNotFound) {
		return stored(err)
	}
	set.users[user.UserID()], set.from[user.UserID()] = user, f.File
	for _, key := range f.Keys {
		if err := s.useAccessKey(ctx, set, user, key); err != nil {
			return fmt.Errorf("access key %s: %w", key.ID, err)
		}
		user.AccessKeys = append(user.AccessKeys, key.ID)
	}
	return nil
}

func (s *Service) useAccessKey(ctx context.Context, set *identitySet, user *keystore.UserRecord, key FileAccessKey) error {
	switch {
	case !accessKeyIDForm.MatchString(key.ID) || strings.HasPrefix(key.ID, temporaryIDPrefix):
		return errors.New("its id is not 16 to 128 letters and digits, or begins with " + temporaryIDPrefix)
	case set.keys[key.ID] != nil:
		return errTwice
	}
	if _, err := s.store.AccessKey(ctx, key.ID); !errors.Is(err, keystore.ErrNotFound) {
		return stored(err)
	}
	secret := key.Secret
	if key.Sealed != nil {
		plain, err := s.domain.Open(ctx, filePurpose(key.ID), key.Sealed)
		if err != nil {
			return fmt.Errorf("the sealed secret is not one that kms11 iam seal made for this key id: %w", err)
		}
		secret = string(plain)
		clear(plain)
	}
	if len(secret) < minSecret {
		return fmt.Errorf("its secret has fewer than %d characters", minSecret)
	}
	caller, err := s.userCaller(user, key.ID)
	if err != nil {
		return err
	}
	caller.writeIdentity()
	set.keys[key.ID] = &fileKey{secret: secret, disabled: key.Disabled, user: user, caller: caller, sealedBy: hsm.SealVersion(key.Sealed)}
	return nil
}

func (s *Service) useRole(ctx context.Context, set *identitySet, f *FileRole) error {
	role := f.RoleRecord.Clone()
	path, err := s.place(&role.Partition, role.Account, role.Name, f.Path)
	if err != nil {
		return err
	}
	role.ARN = entityARN(role.Partition, role.Account, "role", path, role.Name)
	if role.ID == "" {
		role.ID = derivedUniqueID(roleIDPrefix, role.ARN, role.Created)
	}
	if role.MaxSessionSeconds == 0 {
		role.MaxSessionSeconds = defaultSessionSeconds
	}
	if err := checkRole(role); err != nil {
		return err
	}
	if set.roles[role.RoleID()] != nil {
		return errTwice
	}
	if _, err := s.store.Role(ctx, role.RoleID()); !errors.Is(err, keystore.ErrNotFound) {
		return stored(err)
	}
	set.roles[role.RoleID()], set.from[role.RoleID()] = role, f.File
	return nil
}

// place checks a name and gives the path, "/" unless one is set.
func (s *Service) place(partition *string, account, name, path string) (string, error) {
	*partition = s.partition()
	if path == "" {
		path = "/"
	}
	return path, checkEntity(account, name, path)
}

func stored(err error) error {
	if err == nil {
		return errors.New("the keystore has one of that name")
	}
	return err
}

// filePurpose binds a sealed secret to its access key, apart from those in the keystore.
func filePurpose(accessKeyID string) string { return "identity-file/" + accessKeyID }

// minSecret is the length of the shortest secret access key that is taken from outside.
const minSecret = 20

// IdentityStatus is what a service says of its identities directory.
type IdentityStatus struct {
	Users  int       `json:"users"`
	Roles  int       `json:"roles"`
	Loaded time.Time `json:"loaded"`
	// Problem is why the directory as it is now is not in use.
	Problem string `json:"problem,omitempty"`
}

// identityStatus is nil where there is no identities directory.
func (s *Service) identityStatus() *IdentityStatus {
	set := s.files.Load()
	if set.loaded.IsZero() && set.problem == "" {
		return nil
	}
	return &IdentityStatus{Users: len(set.users), Roles: len(set.roles), Loaded: set.loaded, Problem: set.problem}
}
