package ops

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/kms11/kms11/keystore"
)

// ListIdentitiesRequest asks who there is.
type ListIdentitiesRequest struct {
	Account string `json:"account,omitempty"` // empty: all accounts
}

// IdentityList is who there is, by account and name.
type IdentityList struct {
	Users []PrincipalInfo `json:"users"`
	Roles []PrincipalInfo `json:"roles"`
}

// scanPage is how many names are read at a time.
const scanPage = 1000

// ListIdentities tells of all users and roles, in files and in the keystore, of one account or of
// all. It tells no secret.
func (s *Service) ListIdentities(ctx context.Context, _ *Call, in *ListIdentitiesRequest) (IdentityList, error) {
	list := IdentityList{Users: []PrincipalInfo{}, Roles: []PrincipalInfo{}}
	set := s.files.Load()
	for id, user := range set.users {
		if in.Account == "" || in.Account == id.Account {
			info := userInfo(user)
			info.File = set.from[id]
			for _, keyID := range user.AccessKeys {
				info.AccessKeys = append(info.AccessKeys, AccessKeyInfo{ID: keyID, Disabled: set.keys[keyID].disabled})
			}
			list.Users = append(list.Users, info)
		}
	}
	for id, role := range set.roles {
		if in.Account == "" || in.Account == id.Account {
			info := roleInfo(role)
			info.File = set.from[id]
			list.Roles = append(list.Roles, info)
		}
	}
	accounts := []string{in.Account}
	if in.Account == "" {
		var err error
		if accounts, err = s.store.Accounts(ctx, s.partition()); err != nil {
			return list, err
		}
	}
	for _, account := range accounts {
		if err := s.listStored(ctx, account, &list); err != nil {
			return list, err
		}
	}
	for _, infos := range [][]PrincipalInfo{list.Users, list.Roles} {
		slices.SortFunc(infos, func(a, b PrincipalInfo) int {
			return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Name, b.Name))
		})
	}
	return list, nil
}

// listStored adds the users and roles that the keystore has in an account.
func (s *Service) listStored(ctx context.Context, account string, list *IdentityList) error {
	err := each(func(after string) ([]string, bool, error) {
		return s.store.ScanUsers(ctx, s.partition(), account, after, scanPage)
	}, func(name string) error {
		user, err := s.store.User(ctx, keystore.UserID{Partition: s.partition(), Account: account, Name: name})
		if err != nil {
			return unlessGone(err)
		}
		info := userInfo(user)
		info.AccessKeys, err = s.keysOf(ctx, user)
		list.Users = append(list.Users, info)
		return err
	})
	if err != nil {
		return err
	}
	return each(func(after string) ([]string, bool, error) {
		return s.store.ScanRoles(ctx, s.partition(), account, after, scanPage)
	}, func(name string) error {
		role, err := s.store.Role(ctx, keystore.RoleID{Partition: s.partition(), Account: account, Name: name})
		if err != nil {
			return unlessGone(err)
		}
		list.Roles = append(list.Roles, roleInfo(role))
		return nil
	})
}

// keysOf gives the access keys of a user in the keystore. A user of the first content version does
// not list them: then all access keys are looked at.
func (s *Service) keysOf(ctx context.Context, user *keystore.UserRecord) ([]AccessKeyInfo, error) {
	ids := user.AccessKeys
	if user.ID == "" {
		err := s.store.Update(ctx, func(tx *keystore.Tx) error {
			upgraded, err := userToChange(tx, user.UserID())
			if err == nil {
				ids = upgraded.AccessKeys
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	var infos []AccessKeyInfo
	for _, id := range ids {
		key, err := s.store.AccessKey(ctx, id)
		if errors.Is(err, keystore.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		infos = append(infos, AccessKeyInfo{ID: key.ID, Created: key.Created, Disabled: key.Disabled})
	}
	return infos, nil
}

// each calls visit with every name that page after page of a scan gives.
func each(scan func(after string) ([]string, bool, error), visit func(string) error) error {
	for after, more := "", true; more; {
		names, rest, err := scan(after)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := visit(name); err != nil {
				return err
			}
			after = name
		}
		more = rest
	}
	return nil
}

// unlessGone passes over a record that was deleted since its name was read.
func unlessGone(err error) error {
	if errors.Is(err, keystore.ErrNotFound) {
		return nil
	}
	return err
}
