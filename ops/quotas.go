package ops

import (
	"cmp"
	"context"
	"errors"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// Quotas are the limits of what an account may have and of how often it may ask. The zero value
// has AWS's defaults for what it may have and no limit on requests.
type Quotas struct {
	// Keys is how many KMS keys an account may have in a Region, Aliases how many aliases and Grants
	// how many grants each key may have; 0 means AWS's default.
	Keys, Aliases, Grants int
	// AWSRates turns AWS's default request quotas on.
	AWSRates bool
	// Account are requests a second of an account in a Region, by family (see RateFamilies), in place
	// of AWS's; 0 means no limit. Principal are the same for each principal of an account.
	Account, Principal map[string]float64
}

// AWS's defaults (AWS KMS Developer Guide, "Resource quotas").
const (
	maxKeys    = 100_000 // in an account and Region
	maxAliases = 50      // of a key
	maxGrants  = 50_000  // on a key
)

// limits holds a service to its quotas.
type limits struct {
	keys, aliases, grants int
	rates                 *limiter // nil: no request is limited
	principals            bool     // principals have rates of their own
}

func newLimits(q Quotas, s *Service) limits {
	l := limits{
		keys:    cmp.Or(q.Keys, maxKeys),
		aliases: cmp.Or(q.Aliases, maxAliases),
		grants:  cmp.Or(q.Grants, maxGrants),
	}
	if q.AWSRates || len(q.Account) > 0 || len(q.Principal) > 0 {
		l.principals = len(q.Principal) > 0
		l.rates = newLimiter(s.now, q.rate)
	}
	return l
}

// rate is the rate of a bucket.
func (q Quotas) rate(key bucketKey) float64 {
	if isPrincipal(key.who) {
		return q.Principal[key.family]
	}
	if rate, ok := q.Account[key.family]; ok {
		return rate
	}
	if !q.AWSRates {
		return 0
	}
	return rateFamilies[key.family].of(key.region)
}

// isPrincipal tells an ARN, or the name of a service, from the number of an account and from the id
// of a key store.
func isPrincipal(who string) bool {
	for i := range len(who) {
		if who[i] == ':' || who[i] == '.' {
			return true
		}
	}
	return false
}

// admit counts a request against the quotas of its sender, wherever the key is (AWS KMS Developer
// Guide, "Request quotas": a request across accounts counts against the caller's), and refuses it if
// one of them is used up; then it counts against none. It is the first thing that happens to a
// request that is known to be well-formed and its sender's, so a refusal costs and changes nothing.
func (s *Service) admit(call *Call, request any) error {
	if s.limits.rates == nil {
		return nil
	}
	who := &call.Caller.Principal
	asked := charge{account: who.Account, region: call.Region, family: familyOf(call.Operation, request), n: 1}
	if s.limits.principals {
		asked.principal = who.ARN
	}
	if !asked.take(s.limits.rates) {
		return throttled()
	}
	if in, ok := request.(*kms.ReplicateKeyRequest); ok {
		// A replica counts as two keys made in its Region besides (the same page).
		made := asked
		made.region, made.family, made.n = in.ReplicaRegion, "CreateKey", 2
		if !made.take(s.limits.rates) {
			asked.giveBack(s.limits.rates)
			return throttled()
		}
	}
	return nil
}

// charge is what a request takes out of the buckets of its account and, if it is named, its principal.
type charge struct {
	account, principal, region, family string
	n                                  int64
}

// take takes all of it or nothing.
func (c charge) take(l *limiter) bool {
	if c.principal != "" && !l.take(bucketKey{c.principal, c.region, c.family}, c.n) {
		return false
	}
	if l.take(bucketKey{c.account, c.region, c.family}, c.n) {
		return true
	}
	if c.principal != "" {
		l.giveBack(bucketKey{c.principal, c.region, c.family}, c.n)
	}
	return false
}

func (c charge) giveBack(l *limiter) {
	if c.principal != "" {
		l.giveBack(bucketKey{c.principal, c.region, c.family}, c.n)
	}
	l.giveBack(bucketKey{c.account, c.region, c.family}, c.n)
}

// admitKeyStore counts a use of a key in a custom key store against the store's own quota, which the
// account's requests count against besides.
func (s *Service) admitKeyStore(region, id string) error {
	if s.limits.rates != nil && !s.limits.rates.take(bucketKey{id, region, familyKeyStore}, 1) {
		return throttled()
	}
	return nil
}

// admitUse is admitKeyStore for a cryptographic operation on a key that may be in a custom key store. It
// comes after everything that can refuse the request without the store, so that nobody uses up the quota
// of a store whose keys he may not use, and before the store's token or proxy is asked.
func (s *Service) admitUse(k key) error {
	if k.store == nil {
		return nil
	}
	return s.admitKeyStore(k.store.Region, k.store.ID)
}

// throttled is AWS's answer to a request beyond a rate.
func throttled() error {
	return kms.Errorf(kms.ThrottlingException, "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.")
}

// checkKeyQuota refuses one more key in a scope that has as many as it may have.
func (s *Service) checkKeyQuota(tx *keystore.Tx, in keystore.Scope) error {
	n, err := tx.KeyCount(in)
	if err != nil {
		return err
	}
	return s.keyQuota(n)
}

// glanceAtKeyQuota is checkKeyQuota without a transaction. It lets through what it does not know of.
func (s *Service) glanceAtKeyQuota(ctx context.Context, in keystore.Scope) error {
	n, err := s.store.KeyCount(ctx, in)
	if errors.Is(err, keystore.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.keyQuota(n)
}

func (s *Service) keyQuota(n int) error {
	if n >= s.limits.keys {
		return kms.Errorf(kms.LimitExceededException, "Key quota for this account in this region is %d but the current usage is %d.", s.limits.keys, n)
	}
	return nil
}

// checkAliasQuota refuses one more alias for a key that has as many as it may have.
func (s *Service) checkAliasQuota(k key) error {
	if n := len(k.Aliases); n >= s.limits.aliases {
		return kms.Errorf(kms.LimitExceededException, "Aliases per key quota for this account in this region is %d, current usage is %d.", s.limits.aliases, n)
	}
	return nil
}

// checkGrantQuota refuses one more grant on a key that has n.
func (s *Service) checkGrantQuota(n int) error {
	if n >= s.limits.grants {
		return kms.Errorf(kms.LimitExceededException, "Grants per key quota for this account in this region is %d, current usage is %d.", s.limits.grants, n)
	}
	return nil
}
