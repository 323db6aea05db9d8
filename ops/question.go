package ops

import (
	"context"
	"strings"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/policy"
)

// question is what the policies are asked about a call: an action on a key, with all that a
// condition may want to know. It is a part of the call and answers when it is asked: a condition
// that no policy has costs nothing.
type question struct {
	policy.Request
	// ctx is the request's, for the few conditions that read the store.
	ctx     context.Context
	service *Service
	call    *Call
	action  string // as in "kms:" + action
	key     key    // none if the action concerns no key
	input   any    // the operation's decoded request
	// tx is the transaction beside which the store must not be read, if there is one.
	tx *keystore.Tx
	// aliases are what the request named the key by: of ReEncrypt, the source's and the destination's.
	aliases [2]string
	// given are values that an administrator makes up: see Explain.
	given policy.Fixed

	attestation struct {
		done      bool
		recipient *recipient
		err       error
	}
	idle struct { // since the key was last used
		known bool
		days  int64
		err   error
	}
}

// ask makes the call's question one about an action on a resource. The request is good until the
// next question of the same call.
func (s *Service) ask(call *Call, action, resource, owner string, k key) *policy.Request {
	q := &call.asked
	q.service, q.call, q.action, q.key = s, call, action, k
	// One by one: the room that a decision works in need not be cleared.
	q.Request.Principal = call.Caller.Principal
	q.Request.Action = s.actions[action]
	q.Request.Resource = resource
	q.Request.Owner = owner
	if q.Request.Principal.Service != "" {
		q.Request.Principal.Account = "" // that of the call is the one it acts for
	}
	q.Request.Attributes = q
	return &q.Request
}

// Lookup implements policy.Attributes. A key that does not belong to the action is absent, as is one
// that is not known here.
func (q *question) Lookup(key *policy.Key, from policy.Kind) policy.Values {
	if q.given != nil {
		if values := q.given.Lookup(key, from); values.Present() {
			return values
		}
	}
	row := q.service.conditions[key.Name]
	if row == nil || row.identityOnly && from == policy.Resource || !row.on(q) {
		return policy.Values{}
	}
	return row.values(q, key.Part)
}

// named notes by which alias the request names a key; "" if by none.
func (q *question) named(action, alias string) { q.aliases[side(action)] = alias }

// side is 1 for the destination of a ReEncrypt, else 0.
func side(action string) int {
	if action == "ReEncryptTo" {
		return 1
	}
	return 0
}

// hypothetical is the input of a request that nobody sent: see Explain.
type hypothetical struct{ context map[string]string }

// actionNames are the names of all actions as policies have them.
func actionNames() map[string]string {
	names := map[string]string{}
	for _, operation := range kms.Operations() {
		names[operation.Name] = "kms:" + operation.Name
	}
	delete(names, "ReEncrypt") // which is two actions
	for _, action := range []string{"ReEncryptFrom", "ReEncryptTo"} {
		names[action] = "kms:" + action
	}
	return names
}

// knownAction finds an action by its name in a policy, in any case, without wildcards.
func (s *Service) knownAction(name string) (action string, ok bool) {
	for action, full := range s.actions {
		if strings.EqualFold(full, name) {
			return action, true
		}
	}
	return "", false
}
