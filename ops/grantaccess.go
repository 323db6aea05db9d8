package ops

import (
	"context"
	"errors"
	"slices"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/policy"
)

// byGrant is what a request says that a grant may depend on.
type byGrant struct {
	tokens  []string
	context map[string]string // the encryption context, if the operation has one
	create  *policy.Grant     // the grant that CreateGrant is asked for
}

// authorizeUse is authorizeKey for the operations that a grant can allow: what the policies
// neither allow nor deny, a grant to the caller may allow. Only then are grants looked up. The
// request's grant tokens must be genuine in any case. The action is the operation, or ReEncryptFrom
// or ReEncryptTo.
func (s *Service) authorizeUse(ctx context.Context, call *Call, action string, k key, by byGrant) error {
	return s.authorizeUseOf(ctx, call, action, k, by, "")
}

// authorizeUseOf is authorizeUse with words for the key in a refusal: see denialOn.
func (s *Service) authorizeUseOf(ctx context.Context, call *Call, action string, k key, by byGrant, words string) error {
	named, badToken := s.openGrantTokens(ctx, call, by.tokens)
	if badToken != nil && k.Account == call.Caller.Principal.Account {
		return badToken
	}
	request, decision, err := s.evaluate(call, action, k)
	if err != nil {
		return err
	}
	effect := decision.Effect
	if effect.Implicit() {
		source, _ := call.source()
		grant, err := s.granted(ctx, call, k, named, request, policy.GrantRequest{
			Operation: kms.GrantOperation(action), Context: by.context, SourceARN: source, New: by.create,
		})
		if err != nil {
			return err
		}
		if grant != nil {
			effect = policy.Allowed
		}
	}
	if effect != policy.Allowed {
		return denialOn(request, effect, words)
	}
	return badToken // not before: whether a key of another account exists is not told
}

// granted gives a grant on a key that allows the caller a request, nil if there is none: one that a
// grant token names, or one that the store has for the caller, for the role of its session, or,
// where the caller's own policies allow the action, for its account. Tokens matter on a node that
// has not heard of a new grant yet.
func (s *Service) granted(ctx context.Context, call *Call, k key, named []*keystore.GrantRecord, request *policy.Request, asked policy.GrantRequest) (*keystore.GrantRecord, error) {
	policies := call.Caller.policies(nil)
	for _, record := range named {
		if record.Key() == k.KeyID() && grantCounts(record, k.KeyRecord) &&
			policy.Acts(request, record.Grantee(), policies) && grantOf(record).Allows(asked) {
			return record, nil
		}
	}
	self := &call.Caller.Principal
	grantees := [...]string{self.ARN, self.Service, self.Role, accountARN(k.Partition, self.Account)}
	for i, grantee := range grantees {
		if grantee == "" || slices.Contains(grantees[:i], grantee) || !policy.Acts(request, grantee, policies) {
			continue
		}
		if record, err := s.grantedTo(ctx, grantee, k, asked); record != nil || err != nil {
			return record, err
		}
	}
	return nil, nil
}

// grantedTo gives one of the grants on a key to a grantee that allows a request, nil if none does.
func (s *Service) grantedTo(ctx context.Context, grantee string, k key, asked policy.GrantRequest) (*keystore.GrantRecord, error) {
	list, err := s.store.GrantsOf(ctx, k.KeyID(), grantee)
	if err != nil {
		return nil, err
	}
	ids := list.All()
	if context, ok := asked.Selecting(); ok {
		ids = list.For(context)
	}
	for id := range ids {
		record, err := s.store.Grant(ctx, keystore.GrantID{Key: k.KeyID(), ID: id})
		if errors.Is(err, keystore.ErrNotFound) {
			continue // deleted since the ids were read
		}
		if err != nil {
			return nil, err
		}
		// The list of ids is not protected as records are: the grant itself says to whom it is.
		if record.Grantee() == grantee && grantCounts(record, k.KeyRecord) && grantOf(record).Allows(asked) {
			return record, nil
		}
	}
	return nil, nil
}

// grantCounts says whether a grant is on the key as it is now. A replica that was deleted and made
// again has the id of the earlier one, whose grants may not all have been removed yet. They are
// older than the new replica by a waiting period, in which no grant can be created; a grant on the
// key itself is never older than it, whatever the clocks say.
func grantCounts(record *keystore.GrantRecord, k *keystore.KeyRecord) bool {
	return !record.Created.Before(k.Created)
}

// grantOf is what a grant allows.
func grantOf(r *keystore.GrantRecord) *policy.Grant {
	return &policy.Grant{Operations: r.Operations, Constraints: policy.Constraints{
		ContextEquals: r.EncryptionContextEquals, ContextSubset: r.EncryptionContextSubset, SourceARN: r.SourceARN,
	}}
}

// accountARN is the ARN of an account's root user, which stands for the account.
func accountARN(partition, account string) string {
	return "arn:" + partition + ":iam::" + account + ":root"
}
