package ops

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/policy"
)

// Principals come from two places: the files of the identities directory, which are read as a
// whole, and the keystore. Both give the same records. A name is in one of the two; should it get
// into both all the same, the file counts.

// user gives a user's record, an error that matches keystore.ErrNotFound if there is none.
func (s *Service) user(ctx context.Context, id keystore.UserID) (*keystore.UserRecord, error) {
	if user, ok := s.files.Load().users[id]; ok {
		return user, nil
	}
	return s.store.User(ctx, id)
}

// role gives a role's record, an error that matches keystore.ErrNotFound if there is none.
func (s *Service) role(ctx context.Context, id keystore.RoleID) (*keystore.RoleRecord, error) {
	if role, ok := s.files.Load().roles[id]; ok {
		return role, nil
	}
	return s.store.Role(ctx, id)
}

// userCaller is the caller that a user's access key stands for.
func (s *Service) userCaller(user *keystore.UserRecord, accessKeyID string) (*Caller, error) {
	caller := &Caller{
		Principal:   policy.Principal{ARN: user.ARN, Account: user.Account, ID: idOf(user), Tags: user.Tags},
		AccessKeyID: accessKeyID,
	}
	return caller, s.bear(caller, &user.Identity)
}

// roleCaller is the caller that a session of a role stands for, as far as the role goes.
func (s *Service) roleCaller(role *keystore.RoleRecord, session string) (*Caller, error) {
	caller := &Caller{Principal: policy.Principal{
		ARN:     "arn:" + role.Partition + ":sts::" + role.Account + ":assumed-role/" + role.Name + "/" + session,
		Account: role.Account,
		Role:    role.ARN,
		ID:      role.ID + ":" + session,
		Tags:    role.Tags,
	}}
	return caller, s.bear(caller, &role.Identity)
}

// bear gives a caller the policies of its user or role.
func (s *Service) bear(c *Caller, identity *keystore.Identity) error {
	known := s.borne.get(identity)
	if known == nil {
		known = new(bornePolicies)
		for _, name := range slices.Sorted(maps.Keys(identity.Policies)) {
			document, err := policy.Parse(identity.Policies[name])
			if err != nil {
				return fmt.Errorf("ops: policy %q of %s: %w", name, c.Principal.ARN, err)
			}
			document.Name = name
			known.identity = append(known.identity, document)
		}
		if identity.Boundary != nil {
			var err error
			if known.boundary, err = policy.Parse(identity.Boundary); err != nil {
				return fmt.Errorf("ops: boundary of %s: %w", c.Principal.ARN, err)
			}
		}
		s.borne.put(identity, known)
	}
	c.Policies, c.Boundary = known.identity, known.boundary
	return nil
}

// bornePolicies are the compiled policies of a user or a role.
type bornePolicies struct {
	identity []*policy.Document
	boundary *policy.Document
}

// borneCache keeps compiled policies by the record that they are of, which is never changed: all
// sessions of a role share them. It is safe for concurrent use.
type borneCache struct {
	mu       sync.RWMutex
	compiled map[*keystore.Identity]*bornePolicies
}

// borneBound is the number of principals whose policies are kept compiled.
const borneBound = 10_000

func (c *borneCache) get(of *keystore.Identity) *bornePolicies {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.compiled[of]
}

func (c *borneCache) put(of *keystore.Identity, compiled *bornePolicies) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.compiled == nil || len(c.compiled) >= borneBound {
		c.compiled = make(map[*keystore.Identity]*bornePolicies)
	}
	c.compiled[of] = compiled
}

// CallerOf gives the principal of an ARN with its policies: a user, a role or a session of one, or
// the root user of an account. A role by itself is what any session of it may do at most; it has
// the role's ARN. The error matches NoSuchEntity if there is no such principal here. For explaining
// what a principal may do; a request's caller comes from its credentials.
func (s *Service) CallerOf(ctx context.Context, arn string) (*Caller, error) {
	name, ok := parsePrincipal(arn)
	unknown := identityErrorf(NoSuchEntity, "There is no principal %s.", arn)
	if !ok {
		return nil, unknown
	}
	switch name.kind {
	case "root":
		return RootCaller(name.partition, name.account), nil
	case "user":
		user, err := s.user(ctx, keystore.UserID{Partition: name.partition, Account: name.account, Name: name.name})
		if errors.Is(err, keystore.ErrNotFound) || err == nil && user.ARN != arn {
			return nil, unknown
		}
		if err != nil {
			return nil, err
		}
		return s.userCaller(user, "")
	case "role", "assumed-role":
		role, err := s.role(ctx, keystore.RoleID{Partition: name.partition, Account: name.account, Name: name.name})
		if errors.Is(err, keystore.ErrNotFound) || err == nil && name.kind == "role" && role.ARN != arn {
			return nil, unknown
		}
		if err != nil {
			return nil, err
		}
		caller, err := s.roleCaller(role, name.session)
		if err == nil && name.kind == "role" {
			caller.Principal.ARN, caller.Principal.ID = role.ARN, role.ID
		}
		return caller, err
	}
	return nil, unknown
}

// PrincipalExists says whether the principal of an ARN exists, as far as can be known: held is
// whether its account's principals are kept here, and only then exists says more than how the ARN is
// written. The root user of an account always exists, and so does a session of a role that exists.
func (s *Service) PrincipalExists(ctx context.Context, arn string) (exists, held bool, err error) {
	name, ok := parsePrincipal(arn)
	if !ok {
		return false, false, nil
	}
	if held, err = s.holdsAccount(ctx, name.partition, name.account); err != nil || !held {
		return err == nil, false, err
	}
	if name.kind == "federated-user" { // GetFederationToken makes them at will
		return true, true, nil
	}
	_, err = s.CallerOf(ctx, arn)
	if errors.Is(err, NoSuchEntity) {
		return false, true, nil
	}
	return err == nil, true, err
}

// holdsAccount says whether an account's users and roles are kept here: those of the default
// account are, and those of every account that has any.
func (s *Service) holdsAccount(ctx context.Context, partition, account string) (bool, error) {
	if account == s.account || s.files.Load().holds(partition, account) {
		return true, nil
	}
	users, _, err := s.store.ScanUsers(ctx, partition, account, "", 1)
	if err != nil || len(users) > 0 {
		return len(users) > 0, err
	}
	roles, _, err := s.store.ScanRoles(ctx, partition, account, "", 1)
	return len(roles) > 0, err
}

// mapped are the callers of principals that a map of the server's administrator names, such as the
// one of client certificates.
type mapped struct {
	mu      sync.RWMutex
	callers map[[2]string]*mappedCaller // by ARN and session name
}

type mappedCaller struct {
	record any // that the caller was made of: current while it is still the same
	caller *Caller
}

// mappedBound is the number of such callers kept.
const mappedBound = 10_000

// MappedCaller gives the caller of a user or, with the session's name, of a session of a role, for
// requests that are authenticated outside: by a client certificate. There is no end to such a
// session but the certificate's; revoking a role's sessions does not concern it. The error matches
// NoSuchEntity if there is no such user or role.
func (s *Service) MappedCaller(ctx context.Context, arn, session string) (*Caller, error) {
	name, ok := parsePrincipal(arn)
	var record any
	var err error = identityErrorf(NoSuchEntity, "There is no principal %s.", arn)
	if ok && name.kind == "user" {
		record, err = s.user(ctx, keystore.UserID{Partition: name.partition, Account: name.account, Name: name.name})
	} else if ok && name.kind == "role" {
		record, err = s.role(ctx, keystore.RoleID{Partition: name.partition, Account: name.account, Name: name.name})
	}
	if errors.Is(err, keystore.ErrNotFound) {
		return nil, identityErrorf(NoSuchEntity, "There is no principal %s.", arn)
	}
	if err != nil {
		return nil, err
	}
	key := [2]string{arn, session}
	s.mapped.mu.RLock()
	known := s.mapped.callers[key]
	s.mapped.mu.RUnlock()
	if known != nil && known.record == record {
		return known.caller, nil
	}
	made := &mappedCaller{record: record}
	switch record := record.(type) {
	case *keystore.UserRecord:
		if record.ARN != arn {
			return nil, identityErrorf(NoSuchEntity, "There is no principal %s.", arn)
		}
		made.caller, err = s.userCaller(record, "")
	case *keystore.RoleRecord:
		if record.ARN != arn {
			return nil, identityErrorf(NoSuchEntity, "There is no principal %s.", arn)
		}
		made.caller, err = s.roleCaller(record, session)
	}
	if err != nil {
		return nil, err
	}
	made.caller.writeIdentity()
	s.mapped.mu.Lock()
	defer s.mapped.mu.Unlock()
	if s.mapped.callers == nil || len(s.mapped.callers) >= mappedBound {
		s.mapped.callers = make(map[[2]string]*mappedCaller)
	}
	s.mapped.callers[key] = made
	return made.caller, nil
}

// Now is the time by the service's clock.
func (s *Service) Now() time.Time { return s.now() }
