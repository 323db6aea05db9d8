package ops

import (
	"slices"
	"sync"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/policy"
)

// ProxyTenant is a tenant of the proxy with the count of its requests.
type ProxyTenant struct {
	Prefix string
	rules  []keystore.XksRule
	rate   rateLimit
}

func newProxyTenant(record *keystore.XksTenantRecord) *ProxyTenant {
	return &ProxyTenant{Prefix: record.Prefix, rules: record.Rules, rate: rateLimit{perSecond: float64(record.RequestsPerSecond)}}
}

// Admit takes one request off the tenant's rate, and says whether there was one left.
func (t *ProxyTenant) Admit(now time.Time) bool { return t.rate.take(now) }

// ProxyRequest is what the tenant's rules look at: the requestMetadata of a request and its key.
type ProxyRequest struct {
	PrincipalARN, KeyARN, Operation, SourceVPC, SourceVPCE, ViaService string
	Key                                                                string
}

// Allows says whether one of the tenant's rules allows a request, or there are none. A list about
// a field that the request does not have does not fit.
func (t *ProxyTenant) Allows(r *ProxyRequest) bool {
	return len(t.rules) == 0 || slices.ContainsFunc(t.rules, func(rule keystore.XksRule) bool {
		for _, part := range [...]struct {
			patterns []string
			value    string
		}{
			{rule.Principals, r.PrincipalARN},
			{rule.KeyARNs, r.KeyARN},
			{rule.Operations, r.Operation},
			{rule.SourceVPCs, r.SourceVPC},
			{rule.SourceVPCE, r.SourceVPCE},
			{rule.Services, r.ViaService},
			{rule.Keys, r.Key},
		} {
			if len(part.patterns) > 0 && (part.value == "" || !slices.ContainsFunc(part.patterns, func(pattern string) bool {
				return policy.Wildcard(pattern, part.value)
			})) {
				return false
			}
		}
		return true
	})
}

// rateLimit is a token bucket that holds one second's requests.
type rateLimit struct {
	perSecond float64 // 0: no limit

	mu   sync.Mutex
	left float64
	last time.Time // zero before the first request, for which the bucket is full
}

func (l *rateLimit) take(now time.Time) bool {
	if l.perSecond == 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last.IsZero() {
		l.left = l.perSecond
	} else if passed := now.Sub(l.last); passed > 0 {
		l.left = min(l.perSecond, l.left+passed.Seconds()*l.perSecond)
	}
	l.last = now
	if l.left < 1 {
		return false
	}
	l.left--
	return true
}
