package ops

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/kms11/kms11/keystore"
)

// An iamAction is one row of the table of what an administrator does with the identities in the
// keystore.
type iamAction struct {
	name string
	// event is the name of its audit event: CloudTrail's, with User or Role for "*", or one of our own
	// behind ownEvent.
	event  string
	status string // of an access key, if the action sets it; for the event
	decode func(request []byte) (iamRequest, error)
	invoke func(ctx context.Context, s *Service, call *Call, in iamRequest) (any, error)
}

// iam is a row for a method.
func iam[In any, P interface {
	*In
	iamRequest
}, Out any](name, event string, method func(*Service, context.Context, *Call, P) (Out, error)) iamAction {
	return iamAction{name: name, event: event, decode: func(request []byte) (iamRequest, error) {
		in := P(new(In))
		decoder := json.NewDecoder(bytes.NewReader(request))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(in); err != nil {
			return undecoded{}, identityErrorf(ValidationError, "The request is not one of this program's version.")
		}
		if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
			return undecoded{}, identityErrorf(ValidationError, "The request is not one of this program's version.")
		}
		return in, nil
	}, invoke: func(ctx context.Context, s *Service, call *Call, in iamRequest) (any, error) {
		return method(s, ctx, call, in.(P))
	}}
}

// sets is a row whose event says what becomes of the access key.
func (a iamAction) sets(status string) iamAction {
	a.status = status
	return a
}

// iamActions is the table of them.
func iamActions() []iamAction {
	return []iamAction{
		iam("create-user", "CreateUser", (*Service).CreateUser),
		iam("delete-user", "DeleteUser", (*Service).DeleteUser),
		iam("create-role", "CreateRole", (*Service).CreateRole),
		iam("delete-role", "DeleteRole", (*Service).DeleteRole),
		iam("put-trust", "UpdateAssumeRolePolicy", (*Service).PutTrust),
		iam("revoke-sessions", ownEvent+"RevokeSessions", (*Service).RevokeSessions),
		iam("put-policy", "Put*Policy", (*Service).PutPolicy),
		iam("delete-policy", "Delete*Policy", (*Service).DeletePolicy),
		iam("put-boundary", "Put*PermissionsBoundary", (*Service).PutBoundary),
		iam("delete-boundary", "Delete*PermissionsBoundary", (*Service).DeleteBoundary),
		iam("tag", "Tag*", (*Service).TagPrincipal),
		iam("untag", "Untag*", (*Service).UntagPrincipal),
		iam("create-access-key", "CreateAccessKey", (*Service).CreateAccessKey),
		iam("rotate-access-key", ownEvent+"RotateAccessKey", (*Service).RotateAccessKey),
		iam("enable-access-key", "UpdateAccessKey", (*Service).EnableAccessKey).sets("Active"),
		iam("disable-access-key", "UpdateAccessKey", (*Service).DisableAccessKey).sets("Inactive"),
		iam("delete-access-key", "DeleteAccessKey", (*Service).DeleteAccessKey),
		iam("list", ownEvent+"ListIdentities", (*Service).ListIdentities),
		iam("seal", ownEvent+"SealAccessKey", (*Service).SealAccessKey),
	}
}

// Administer does what an administrator asks for, by the name of the action, and records it. It is for
// those who may do everything: nothing is authorised here. Errors that are for the administrator are of
// the type IdentityError. What was done counts from the next request on.
func (s *Service) Administer(ctx context.Context, origin Origin, action string, request []byte) (answer any, err error) {
	for _, row := range iamActions() {
		if row.name != action {
			continue
		}
		in, undecodable := row.decode(request)
		return s.administer(origin, row.administration(in), func(call *Call) (any, error) {
			if undecodable != nil {
				return nil, undecodable
			}
			return row.invoke(ctx, s, call, in)
		})
	}
	return nil, identityErrorf(ValidationError, "There is no action %q.", action)
}

// Done is the answer of actions that have nothing to tell.
type Done struct{}

// Principal names a user or a role, exactly one of both, of an account; no account stands for the
// default one.
type Principal struct {
	Account string `json:"account,omitempty"`
	User    string `json:"user,omitempty"`
	Role    string `json:"role,omitempty"`
}

func (s *Service) accountOr(account string) string {
	if account == "" {
		return s.account
	}
	return account
}

func (s *Service) userID(account, name string) keystore.UserID {
	return keystore.UserID{Partition: s.partition(), Account: s.accountOr(account), Name: name}
}

func (s *Service) roleID(account, name string) keystore.RoleID {
	return keystore.RoleID{Partition: s.partition(), Account: s.accountOr(account), Name: name}
}

func noSuchUser(name string) error {
	return identityErrorf(NoSuchEntity, "The user with name %s cannot be found.", name)
}

func noSuchRole(name string) error {
	return identityErrorf(NoSuchEntity, "The role with name %s cannot be found.", name)
}

func noSuchKey(id string) error {
	return identityErrorf(NoSuchEntity, "The Access Key with id %s cannot be found.", id)
}

// notInFile refuses to change what a file describes.
func (s *Service) notInFile(id any, what string) error {
	if file, ok := s.files.Load().from[id]; ok {
		return identityErrorf(UnmodifiableEntity, "%s is described in %s: change it there.", what, file)
	}
	return nil
}

// editUser changes a user's record in a transaction of its own.
func (s *Service) editUser(ctx context.Context, call *Call, id keystore.UserID, change func(tx *keystore.Tx, user *keystore.UserRecord) error) (*keystore.UserRecord, error) {
	call.belongs(id.Account)
	if err := s.notInFile(id, "The user "+id.Name); err != nil {
		return nil, err
	}
	var changed *keystore.UserRecord
	err := s.update(ctx, call, func(tx *keystore.Tx) error {
		user, err := userToChange(tx, id)
		if err != nil {
			return err
		}
		if err := change(tx, user); err != nil {
			return err
		}
		if err := checkIdentity(&user.Identity); err != nil {
			return err
		}
		changed = user
		return tx.PutUser(user)
	})
	return changed, err
}

// userToChange gives a copy of a user's record, in its newest form: with an id and its access keys.
func userToChange(tx *keystore.Tx, id keystore.UserID) (*keystore.UserRecord, error) {
	record, err := tx.User(id)
	if errors.Is(err, keystore.ErrNotFound) {
		return nil, noSuchUser(id.Name)
	}
	if err != nil {
		return nil, err
	}
	user := record.Clone()
	if user.ID != "" {
		return user, nil
	}
	user.ID = idOf(user)
	ids, err := tx.AccessKeyIDs()
	if err != nil {
		return nil, err
	}
	for _, keyID := range ids {
		key, err := tx.AccessKey(keyID)
		if err != nil {
			return nil, err
		}
		if key.PrincipalARN == user.ARN {
			user.AccessKeys = append(user.AccessKeys, keyID)
		}
	}
	return user, nil
}

// editRole changes a role's record in a transaction of its own.
func (s *Service) editRole(ctx context.Context, call *Call, id keystore.RoleID, change func(role *keystore.RoleRecord) error) (*keystore.RoleRecord, error) {
	call.belongs(id.Account)
	if err := s.notInFile(id, "The role "+id.Name); err != nil {
		return nil, err
	}
	var changed *keystore.RoleRecord
	err := s.update(ctx, call, func(tx *keystore.Tx) error {
		record, err := tx.Role(id)
		if errors.Is(err, keystore.ErrNotFound) {
			return noSuchRole(id.Name)
		}
		if err != nil {
			return err
		}
		role := record.Clone()
		if err := change(role); err != nil {
			return err
		}
		if err := checkRole(role); err != nil {
			return err
		}
		changed = role
		return tx.PutRole(role)
	})
	return changed, err
}

// edit changes what a user or a role has in common.
func (s *Service) edit(ctx context.Context, call *Call, p Principal, change func(*keystore.Identity) error) (Done, error) {
	var err error
	switch {
	case (p.User == "") == (p.Role == ""):
		err = identityErrorf(ValidationError, "Name a user or a role.")
	case p.User != "":
		_, err = s.editUser(ctx, call, s.userID(p.Account, p.User), func(_ *keystore.Tx, user *keystore.UserRecord) error { return change(&user.Identity) })
	default:
		_, err = s.editRole(ctx, call, s.roleID(p.Account, p.Role), func(role *keystore.RoleRecord) error { return change(&role.Identity) })
	}
	return Done{}, err
}

// PrincipalInfo is what a list tells of a user or a role.
type PrincipalInfo struct {
	ARN               string                     `json:"arn"`
	Account           string                     `json:"account"`
	Name              string                     `json:"name"`
	ID                string                     `json:"id"`
	Created           time.Time                  `json:"created,omitzero"`
	Description       string                     `json:"description,omitempty"`
	Tags              map[string]string          `json:"tags,omitempty"`
	Policies          map[string]json.RawMessage `json:"policies,omitempty"`
	Boundary          json.RawMessage            `json:"boundary,omitempty"`
	Trust             json.RawMessage            `json:"trust,omitempty"`
	MaxSessionSeconds int                        `json:"maxSessionSeconds,omitempty"`
	Revoked           time.Time                  `json:"revoked,omitzero"`
	AccessKeys        []AccessKeyInfo            `json:"accessKeys,omitempty"`
	File              string                     `json:"file,omitempty"` // that describes it; empty: the keystore does
}

// AccessKeyInfo is what a list tells of an access key.
type AccessKeyInfo struct {
	ID       string    `json:"accessKeyId"`
	Created  time.Time `json:"created,omitzero"`
	Disabled bool      `json:"disabled"`
}

func userInfo(user *keystore.UserRecord) PrincipalInfo {
	return PrincipalInfo{
		ARN: user.ARN, Account: user.Account, Name: user.Name, ID: idOf(user), Created: user.Created,
		Tags: user.Tags, Policies: user.Policies, Boundary: user.Boundary,
	}
}

func roleInfo(role *keystore.RoleRecord) PrincipalInfo {
	return PrincipalInfo{
		ARN: role.ARN, Account: role.Account, Name: role.Name, ID: role.ID, Created: role.Created, Description: role.Description,
		Tags: role.Tags, Policies: role.Policies, Boundary: role.Boundary,
		Trust: role.Trust, MaxSessionSeconds: role.MaxSessionSeconds, Revoked: role.Revoked,
	}
}
