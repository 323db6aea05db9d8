package ops

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/kms11/kms11/keystore"
)

// CreateUserRequest asks for a new user.
type CreateUserRequest struct {
	Account string            `json:"account,omitempty"`
	Name    string            `json:"name"`
	Path    string            `json:"path,omitempty"` // "/" if empty
	Tags    map[string]string `json:"tags,omitempty"`
}

// CreateUser makes a user without policies or access keys. The account need not have anything yet.
func (s *Service) CreateUser(ctx context.Context, call *Call, in *CreateUserRequest) (PrincipalInfo, error) {
	id := s.userID(in.Account, in.Name)
	call.belongs(id.Account)
	path := cmp.Or(in.Path, "/")
	user := &keystore.UserRecord{
		Partition: id.Partition, Account: id.Account, Name: id.Name,
		ARN:      entityARN(id.Partition, id.Account, "user", path, id.Name),
		Created:  s.now(),
		ID:       newUniqueID(userIDPrefix),
		Identity: keystore.Identity{Tags: in.Tags},
	}
	if err := checkEntity(id.Account, id.Name, path); err != nil {
		return PrincipalInfo{}, err
	}
	if err := checkIdentity(&user.Identity); err != nil {
		return PrincipalInfo{}, err
	}
	exists := identityErrorf(EntityAlreadyExists, "User with name %s already exists.", in.Name)
	if _, inFile := s.files.Load().from[id]; inFile {
		return PrincipalInfo{}, exists
	}
	err := s.update(ctx, call, func(tx *keystore.Tx) error { return tx.CreateUser(user) })
	if errors.Is(err, keystore.ErrExists) {
		return PrincipalInfo{}, exists
	}
	return userInfo(user), err
}

// DeleteUserRequest asks for the end of a user.
type DeleteUserRequest struct {
	Account string `json:"account,omitempty"`
	Name    string `json:"name"`
	Force   bool   `json:"force,omitempty"` // even if it has access keys: they go too
}

// DeleteUser removes a user with its policies. The user that the keystore was made with stays: it is
// what tells the default account.
func (s *Service) DeleteUser(ctx context.Context, call *Call, in *DeleteUserRequest) (Done, error) {
	id := s.userID(in.Account, in.Name)
	call.belongs(id.Account)
	if id == s.userID("", administrator) {
		return Done{}, identityErrorf(DeleteConflict, "The user %s belongs to the keystore and stays. Disable or delete its access keys instead.", administrator)
	}
	if err := s.notInFile(id, "The user "+id.Name); err != nil {
		return Done{}, err
	}
	return Done{}, s.update(ctx, call, func(tx *keystore.Tx) error {
		user, err := userToChange(tx, id)
		if err != nil {
			return err
		}
		if len(user.AccessKeys) > 0 && !in.Force {
			return identityErrorf(DeleteConflict, "Cannot delete entity, must delete access keys first.")
		}
		for _, keyID := range user.AccessKeys {
			if err := tx.DeleteAccessKey(keyID); err != nil && !errors.Is(err, keystore.ErrNotFound) {
				return err
			}
		}
		return tx.DeleteUser(id)
	})
}

// CreateRoleRequest asks for a new role.
type CreateRoleRequest struct {
	Account           string            `json:"account,omitempty"`
	Name              string            `json:"name"`
	Path              string            `json:"path,omitempty"` // "/" if empty
	Description       string            `json:"description,omitempty"`
	Trust             json.RawMessage   `json:"trust"`
	MaxSessionSeconds int               `json:"maxSessionSeconds,omitempty"` // 3600 if 0
	Tags              map[string]string `json:"tags,omitempty"`
}

// CreateRole makes a role without policies.
func (s *Service) CreateRole(ctx context.Context, call *Call, in *CreateRoleRequest) (PrincipalInfo, error) {
	id := s.roleID(in.Account, in.Name)
	call.belongs(id.Account)
	path := cmp.Or(in.Path, "/")
	if in.MaxSessionSeconds == 0 {
		in.MaxSessionSeconds = defaultSessionSeconds
	}
	role := &keystore.RoleRecord{
		Partition: id.Partition, Account: id.Account, Name: id.Name,
		ARN:         entityARN(id.Partition, id.Account, "role", path, id.Name),
		Created:     s.now(),
		ID:          newUniqueID(roleIDPrefix),
		Description: in.Description,
		Trust:       in.Trust, MaxSessionSeconds: in.MaxSessionSeconds,
		Identity: keystore.Identity{Tags: in.Tags},
	}
	if err := checkEntity(id.Account, id.Name, path); err != nil {
		return PrincipalInfo{}, err
	}
	if err := checkRole(role); err != nil {
		return PrincipalInfo{}, err
	}
	exists := identityErrorf(EntityAlreadyExists, "Role with name %s already exists.", in.Name)
	if _, inFile := s.files.Load().from[id]; inFile {
		return PrincipalInfo{}, exists
	}
	err := s.update(ctx, call, func(tx *keystore.Tx) error { return tx.CreateRole(role) })
	if errors.Is(err, keystore.ErrExists) {
		return PrincipalInfo{}, exists
	}
	return roleInfo(role), err
}

// RoleRequest names a role.
type RoleRequest struct {
	Account string `json:"account,omitempty"`
	Name    string `json:"name"`
}

// DeleteRole removes a role with its policies, which ends its sessions. A role that is made again
// under its name is another one.
func (s *Service) DeleteRole(ctx context.Context, call *Call, in *RoleRequest) (Done, error) {
	id := s.roleID(in.Account, in.Name)
	call.belongs(id.Account)
	if err := s.notInFile(id, "The role "+id.Name); err != nil {
		return Done{}, err
	}
	err := s.update(ctx, call, func(tx *keystore.Tx) error { return tx.DeleteRole(id) })
	if errors.Is(err, keystore.ErrNotFound) {
		err = noSuchRole(in.Name)
	}
	return Done{}, err
}

// RevokeSessions ends all sessions of a role that have begun.
func (s *Service) RevokeSessions(ctx context.Context, call *Call, in *RoleRequest) (PrincipalInfo, error) {
	role, err := s.editRole(ctx, call, s.roleID(in.Account, in.Name), func(role *keystore.RoleRecord) error {
		role.Revoked = s.now()
		return nil
	})
	if err != nil {
		return PrincipalInfo{}, err
	}
	return roleInfo(role), nil
}

// PutTrustRequest changes who may take a role on, and for how long.
type PutTrustRequest struct {
	Account           string          `json:"account,omitempty"`
	Name              string          `json:"name"`
	Trust             json.RawMessage `json:"trust"`
	MaxSessionSeconds int             `json:"maxSessionSeconds,omitempty"` // 0: as before
}

// PutTrust replaces a role's trust policy. Sessions that have begun go on.
func (s *Service) PutTrust(ctx context.Context, call *Call, in *PutTrustRequest) (Done, error) {
	_, err := s.editRole(ctx, call, s.roleID(in.Account, in.Name), func(role *keystore.RoleRecord) error {
		role.Trust = in.Trust
		if in.MaxSessionSeconds != 0 {
			role.MaxSessionSeconds = in.MaxSessionSeconds
		}
		return nil
	})
	return Done{}, err
}

// PutPolicyRequest gives a principal a policy.
type PutPolicyRequest struct {
	Principal
	Name   string          `json:"name"`
	Policy json.RawMessage `json:"policy"`
}

// PutPolicy gives a user or a role an identity policy, in place of the one of that name.
func (s *Service) PutPolicy(ctx context.Context, call *Call, in *PutPolicyRequest) (Done, error) {
	return s.edit(ctx, call, in.Principal, func(i *keystore.Identity) error {
		if i.Policies == nil {
			i.Policies = make(map[string]json.RawMessage)
		}
		i.Policies[in.Name] = in.Policy
		return nil
	})
}

// PolicyRequest names a policy of a principal.
type PolicyRequest struct {
	Principal
	Name string `json:"name"`
}

// DeletePolicy takes an identity policy away.
func (s *Service) DeletePolicy(ctx context.Context, call *Call, in *PolicyRequest) (Done, error) {
	return s.edit(ctx, call, in.Principal, func(i *keystore.Identity) error {
		if _, ok := i.Policies[in.Name]; !ok {
			kind, name := "user", in.User
			if in.Role != "" {
				kind, name = "role", in.Role
			}
			return identityErrorf(NoSuchEntity, "The %s policy with name %s cannot be found for %s %s.", kind, in.Name, kind, name)
		}
		delete(i.Policies, in.Name)
		return nil
	})
}

// PutBoundaryRequest gives a principal a permissions boundary.
type PutBoundaryRequest struct {
	Principal
	Policy json.RawMessage `json:"policy"`
}

// PutBoundary gives a user or a role a permissions boundary, in place of the one it has.
func (s *Service) PutBoundary(ctx context.Context, call *Call, in *PutBoundaryRequest) (Done, error) {
	if len(in.Policy) == 0 {
		return Done{}, identityErrorf(MalformedPolicyDocument, "Syntax errors in policy.")
	}
	return s.edit(ctx, call, in.Principal, func(i *keystore.Identity) error {
		i.Boundary = in.Policy
		return nil
	})
}

// DeleteBoundary takes the permissions boundary away.
func (s *Service) DeleteBoundary(ctx context.Context, call *Call, in *Principal) (Done, error) {
	return s.edit(ctx, call, *in, func(i *keystore.Identity) error {
		i.Boundary = nil
		return nil
	})
}

// TagRequest gives a principal tags.
type TagRequest struct {
	Principal
	Tags map[string]string `json:"tags"`
}

// TagPrincipal gives a user or a role tags, in place of those whose keys differ in case at most.
func (s *Service) TagPrincipal(ctx context.Context, call *Call, in *TagRequest) (Done, error) {
	return s.edit(ctx, call, in.Principal, func(i *keystore.Identity) error {
		if i.Tags == nil {
			i.Tags = make(map[string]string)
		}
		for key := range in.Tags {
			maps.DeleteFunc(i.Tags, func(k, _ string) bool { return sameFolded(k, key) })
		}
		maps.Copy(i.Tags, in.Tags)
		return nil
	})
}

// UntagRequest takes tags from a principal.
type UntagRequest struct {
	Principal
	Keys []string `json:"keys"`
}

// UntagPrincipal takes tags away, those that are there.
func (s *Service) UntagPrincipal(ctx context.Context, call *Call, in *UntagRequest) (Done, error) {
	return s.edit(ctx, call, in.Principal, func(i *keystore.Identity) error {
		maps.DeleteFunc(i.Tags, func(k, _ string) bool {
			return slices.ContainsFunc(in.Keys, func(key string) bool { return sameFolded(k, key) })
		})
		return nil
	})
}
