package ops

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/policy"
)

// ServiceIdentity is a service that uses keys for the accounts it serves, as AWS's own services do:
// for one of an account's principals, whose request it handles, or for itself on behalf of one of the
// account's resources. It says which in each request, and is believed: see docs/services.md.
type ServiceIdentity struct {
	Principal   string // the service principal, such as s3.amazonaws.com
	Alias       string // of its keys: what follows alias/aws/
	AccessKeyID string
	Secret      string
	Accounts    []string // that it may act for; none: every account
}

// Via says for whom and for what a service sends a request. The zero value is a request that no
// service sent.
type Via struct {
	// Principal is the service principal whose access key signed the request.
	Principal string
	// OnBehalf says that the caller is who the service acts for, and not the service itself.
	OnBehalf bool
	// SourceARN and SourceAccount are the resource that the service acts for and its account, each
	// empty if the service does not say.
	SourceARN, SourceAccount string
}

// Service is the value of the condition key kms:ViaService, such as s3.us-east-1.amazonaws.com. A
// service that acts for itself comes through no service.
func (v Via) Service(region string) string {
	name, domain, found := strings.Cut(v.Principal, ".")
	if !v.OnBehalf || !found {
		return ""
	}
	return name + "." + region + "." + domain
}

// ServiceClaim is what a service's request says about whom it is for. Empty members were not said.
type ServiceClaim struct {
	Behalf        string // the ARN of a principal
	SourceARN     string
	SourceAccount string
}

// services are the services of a Service by their access keys and by their aliases.
type services struct {
	byKey, byAlias map[string]*ServiceIdentity
	aliases        []string // in the order of lists
}

func newServices(identities []ServiceIdentity) services {
	s := services{byKey: make(map[string]*ServiceIdentity), byAlias: make(map[string]*ServiceIdentity)}
	for i := range identities {
		identity := &identities[i]
		s.byKey[identity.AccessKeyID] = identity
		s.byAlias[identity.Alias] = identity
		s.aliases = append(s.aliases, keystore.ReservedAliases+identity.Alias)
	}
	slices.SortFunc(s.aliases, compareAliases)
	return s
}

// serviceCredential gives the secret and the caller of a service's access key.
func (s *Service) serviceCredential(accessKeyID string) (secret string, caller *Caller, ok bool) {
	identity, ok := s.services.byKey[accessKeyID]
	if !ok {
		return "", nil, false
	}
	return identity.Secret, &Caller{
		Principal:   policy.Principal{ARN: identity.Principal, Service: identity.Principal},
		AccessKeyID: identity.AccessKeyID,
	}, true
}

// ServiceCall makes a service's request one of whom it is for. It changes nothing in the requests of
// other callers, whatever they claim.
func (s *Service) ServiceCall(ctx context.Context, call *Call, claim ServiceClaim) error {
	if call.Caller.Principal.Service == "" {
		return nil
	}
	identity := s.services.byKey[call.Caller.AccessKeyID]
	call.Via = Via{Principal: identity.Principal, SourceARN: claim.SourceARN, SourceAccount: claim.SourceAccount}
	if claim.Behalf == "" {
		// AWS's services name the account of the resource; without it there is no account whose keys
		// could be meant.
		if !identity.serves(claim.SourceAccount) {
			return kms.Errorf(kms.AccessDeniedException, "%s may not act for the account %q.", identity.Principal, claim.SourceAccount)
		}
		caller := *call.Caller
		caller.Principal.Account = claim.SourceAccount
		call.Caller = &caller
		return nil
	}
	parts := principalARN.FindStringSubmatch(claim.Behalf)
	if parts == nil || parts[1] != kms.PartitionOf(call.Region) || !identity.serves(parts[2]+parts[4]) ||
		claim.SourceAccount != "" && !identity.serves(claim.SourceAccount) {
		return kms.Errorf(kms.AccessDeniedException, "%s may not act for %s.", identity.Principal, claim.Behalf)
	}
	caller, err := s.callerFor(ctx, claim.Behalf)
	if err != nil {
		return err
	}
	// The caller is shared; the key that signed is the service's.
	own := *caller
	own.AccessKeyID = identity.AccessKeyID
	call.Caller, call.Via.OnBehalf = &own, true
	return nil
}

// serves says whether a service may act for an account.
func (i *ServiceIdentity) serves(account string) bool {
	if len(account) != 12 || strings.Trim(account, "0123456789") != "" {
		return false
	}
	return len(i.Accounts) == 0 || slices.Contains(i.Accounts, account)
}

// callerFor gives the principal that a service acts for, with its policies.
func (s *Service) callerFor(ctx context.Context, arn string) (*Caller, error) {
	caller, err := s.CallerOf(ctx, arn)
	if errors.Is(err, NoSuchEntity) {
		return nil, kms.Errorf(kms.AccessDeniedException, "There is no principal %s.", arn)
	}
	return caller, err
}

// sentByService says whether a service sent the request, for itself or for somebody.
func sentByService(q *question, _ string) policy.Values {
	return boolValue(q.call.Via.Principal != "" || q.principal().Service != "")
}

// onBehalf says whether the request came through a service.
func onBehalf(q *question, _ string) policy.Values {
	if q.call.Via.Principal != "" {
		return boolValue(q.call.Via.OnBehalf)
	}
	return boolValue(q.principal().Service != "")
}
