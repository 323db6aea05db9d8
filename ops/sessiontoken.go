package ops

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/policy"
)

// Temporary credentials are an access key whose id begins with ASIA, its secret and a session token.
// Nothing is stored: the session token is all there is to know, sealed by the domain's sealing key
// for the id of its access key (see docs/formats.md), so every node of the domain knows a session as
// soon as its client does. Sealed is
//
//	offset  bytes  field
//	     0      1  version: 0x01
//	     1      n  sessionContent as JSON
const sessionTokenVersion = 1

// maxSessionToken is the longest session token in characters. It has to fit a header, and IAM's
// limits together would allow ten times as much: what is too large is refused when it is made.
const maxSessionToken = 8192

// sessionPurpose binds a session token to its access key.
func sessionPurpose(accessKeyID string) string { return "session-token/" + accessKeyID }

// sessionContent is a session of a role. Times are milliseconds since 1970 UTC.
type sessionContent struct {
	Secret         string            `json:"secret"`
	Partition      string            `json:"partition"`
	Account        string            `json:"account"`
	Role           string            `json:"role"` // its name
	RoleID         string            `json:"roleId"`
	Name           string            `json:"name"` // of the session
	Issued         int64             `json:"issued"`
	Expires        int64             `json:"expires"`
	Policy         string            `json:"policy,omitempty"`
	Tags           map[string]string `json:"tags,omitempty"`
	Transitive     []string          `json:"transitive,omitempty"`
	SourceIdentity string            `json:"sourceIdentity,omitempty"`
	Provider       string            `json:"provider,omitempty"`
	Subject        string            `json:"subject,omitempty"`
}

// SessionCredentials are temporary credentials as they are given out.
type SessionCredentials struct {
	AccessKey
	Token   string
	Expires time.Time
}

// issue makes the credentials of a session, which need not be complete: the secret is made here. The
// error matches PackedPolicyTooLarge if the session's policy and tags are too long for a token.
func (s *Service) issue(ctx context.Context, content sessionContent) (c SessionCredentials, err error) {
	c.AccessKey = newAccessKey(temporaryIDPrefix)
	content.Secret = c.Secret
	text, err := json.Marshal(content)
	if err != nil {
		return c, err
	}
	sealed, err := s.domain.Seal(ctx, sessionPurpose(c.ID), append([]byte{sessionTokenVersion}, text...))
	clear(text)
	if err != nil {
		return c, tokenError(err)
	}
	c.Token, c.Expires = base64.StdEncoding.EncodeToString(sealed), time.UnixMilli(content.Expires).UTC()
	if len(c.Token) > maxSessionToken {
		return c, identityErrorf(PackedPolicyTooLarge, "Packed size of session policy and tags consumes %d%% of the allotted space.", 100*len(c.Token)/maxSessionToken)
	}
	return c, nil
}

// ErrBadSessionToken is the error of SessionCredential for a token that is not one of this domain
// for that access key, or whose role is gone or has had its sessions revoked.
var ErrBadSessionToken = errors.New("bad session token")

// SessionCredential gives the secret of temporary credentials, when they end and the caller they
// stand for. It does not look whether they have ended. The token is opened by the HSM once; the
// role's policies are those of the moment, so a change of the role, or its end, counts at once.
//
// A token that nobody sealed costs a decryption by the HSM like any other that is new: source, the
// address that it came from, bounds how many it can cause. See forged.
func (s *Service) SessionCredential(ctx context.Context, source, accessKeyID, token string) (secret string, expires time.Time, caller *Caller, err error) {
	opened := s.sessions.get(accessKeyID, token)
	if opened == nil {
		if opened, err = s.openSession(ctx, source, accessKeyID, token); err != nil {
			return "", time.Time{}, nil, err
		}
	}
	content := &opened.content
	role, err := s.role(ctx, keystore.RoleID{Partition: content.Partition, Account: content.Account, Name: content.Role})
	if errors.Is(err, keystore.ErrNotFound) {
		return "", time.Time{}, nil, ErrBadSessionToken
	}
	if err != nil {
		return "", time.Time{}, nil, err
	}
	if role != opened.role {
		if opened, err = s.under(role, opened); err != nil {
			return "", time.Time{}, nil, err
		}
		s.sessions.put(opened)
	}
	// A session of the millisecond in which the sessions were revoked may have come before it.
	if role.ID != content.RoleID || !role.Revoked.IsZero() && content.Issued <= role.Revoked.UnixMilli() {
		return "", time.Time{}, nil, ErrBadSessionToken
	}
	return content.Secret, opened.expires, opened.caller, nil
}

// openSession has the HSM open a session token.
func (s *Service) openSession(ctx context.Context, source, accessKeyID, token string) (*openedSession, error) {
	if !strings.HasPrefix(accessKeyID, temporaryIDPrefix) || len(token) > maxSessionToken {
		return nil, ErrBadSessionToken
	}
	sealed, err := base64.StdEncoding.Strict().DecodeString(token)
	if err != nil || base64.StdEncoding.EncodedLen(len(sealed)) != len(token) { // the decoder skips line breaks
		return nil, ErrBadSessionToken
	}
	var plain []byte
	var opened *openedSession
	err = s.forged.guard(ctx, source, func() error {
		if opened = s.sessions.get(accessKeyID, token); opened != nil {
			return nil // another request of the session had its turn before
		}
		plain, err = s.domain.Open(ctx, sessionPurpose(accessKeyID), sealed)
		return err
	})
	if opened != nil {
		return opened, nil
	}
	if errors.Is(err, hsm.ErrBadCiphertext) {
		return nil, ErrBadSessionToken
	}
	if err != nil {
		return nil, tokenError(err)
	}
	defer clear(plain)
	opened = &openedSession{accessKeyID: strings.Clone(accessKeyID), token: strings.Clone(token)}
	if len(plain) < 1 || plain[0] != sessionTokenVersion || json.Unmarshal(plain[1:], &opened.content) != nil {
		return nil, ErrBadSessionToken // of a newer program
	}
	opened.expires = time.UnixMilli(opened.content.Expires).UTC()
	return opened, nil
}

// openedSession is a session whose token was opened, with the caller made of its role. It is current
// while the role's record is the same. It is never changed.
type openedSession struct {
	accessKeyID, token string
	content            sessionContent
	expires            time.Time
	role               *keystore.RoleRecord
	caller             *Caller
}

// under gives a session under its role as the role is now.
func (s *Service) under(role *keystore.RoleRecord, o *openedSession) (*openedSession, error) {
	n := *o
	n.role = role
	caller, err := s.roleCaller(role, o.content.Name)
	if err != nil {
		return nil, err
	}
	caller.AccessKeyID = o.accessKeyID
	caller.Temporary = &Temporary{
		Issued: time.UnixMilli(o.content.Issued).UTC(), Expires: o.expires,
		SourceIdentity: o.content.SourceIdentity, Transitive: o.content.Transitive,
		Provider: o.content.Provider, Subject: o.content.Subject,
	}
	caller.Principal.Tags = mergeTags(role.Tags, o.content.Tags)
	if o.content.Policy != "" {
		document, err := s.policies.get(o.content.Policy)
		if err != nil {
			return nil, err
		}
		caller.Session = []*policy.Document{document}
	}
	caller.writeIdentity()
	n.caller = caller
	return &n, nil
}

// mergeTags gives the tags of a session: its own before those of its role, keys in any case.
func mergeTags(role, session map[string]string) map[string]string {
	if len(session) == 0 {
		return role
	}
	merged := maps.Clone(session)
	own := make(map[string]bool, len(session))
	for key := range session {
		own[strings.ToLower(key)] = true
	}
	for key, value := range role {
		if !own[strings.ToLower(key)] {
			merged[key] = value
		}
	}
	return merged
}

// sessionCache keeps opened sessions by their access key ids. It is safe for concurrent use.
type sessionCache struct {
	mu     sync.RWMutex
	opened map[string]*openedSession
}

// sessionCacheBound is the number of sessions kept opened.
const sessionCacheBound = 10_000

// get gives the session of an access key if it was opened with this very token.
func (c *sessionCache) get(accessKeyID, token string) *openedSession {
	c.mu.RLock()
	opened := c.opened[accessKeyID]
	c.mu.RUnlock()
	if opened == nil || subtle.ConstantTimeCompare([]byte(opened.token), []byte(token)) != 1 {
		return nil
	}
	return opened
}

func (c *sessionCache) put(opened *openedSession) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.opened == nil || len(c.opened) >= sessionCacheBound {
		c.opened = make(map[string]*openedSession)
	}
	c.opened[opened.accessKeyID] = opened
}
