package ops

import (
	"context"
	"errors"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/oidc"
	"github.com/kms11/kms11/policy"
)

// WebIdentities verifies the ID tokens of the OpenID Connect issuers of an account. *oidc.Verifier is
// one; its errors match those of package oidc.
type WebIdentities interface {
	Verify(ctx context.Context, account, token string) (*oidc.Token, error)
}

// WebIdentityRequest is the input of STS AssumeRoleWithWebIdentity.
type WebIdentityRequest struct {
	RoleARN          string
	RoleSessionName  string
	WebIdentityToken string
	ProviderID       string // of OAuth 2.0 access tokens, which are not taken
	DurationSeconds  int
	Policy           string
	PolicyARNs       bool
}

// AssumeRoleWithWebIdentity makes a session of a role for the bearer of an ID token (STS API
// reference). The request is not signed; the token says who asks. The call's Caller is not looked at.
func (s *Service) AssumeRoleWithWebIdentity(ctx context.Context, call *Call, in *WebIdentityRequest) (*AssumedRole, error) {
	list := append(roleFaults(in.RoleARN, in.RoleSessionName), policyFaults(in.Policy)...)
	list = append(list, durationFaults(in.DurationSeconds)...)
	list = append(list, faults(stsMember{
		name: "webIdentityToken", value: in.WebIdentityToken, set: in.WebIdentityToken != "", required: true, min: 4, max: 20_000, hidden: true,
	})...)
	if err := invalid(list); err != nil {
		return nil, err
	}
	call.tell(in.told()) // of bounded size: nobody is authenticated yet
	id, err := roleOf(in.RoleARN)
	if err != nil {
		return nil, err
	}
	switch {
	case in.ProviderID != "":
		return nil, identityErrorf(ValidationError, "ProviderId is for OAuth 2.0 access tokens, which are not taken.")
	case in.PolicyARNs:
		return nil, identityErrorf(ValidationError, "There are no managed policies here: give the session policy as Policy.")
	}
	token, err := s.verifyWebIdentity(ctx, id.Account, in.WebIdentityToken)
	if err != nil {
		return nil, err
	}
	call.bearer(id.Account, "arn:"+id.Partition+":iam::"+id.Account+":oidc-provider/"+token.Provider.Name(), token)
	denied := identityErrorf(AccessDenied, "Not authorized to perform sts:AssumeRoleWithWebIdentity")
	role, err := s.role(ctx, id)
	if errors.Is(err, keystore.ErrNotFound) || err == nil && role.ARN != in.RoleARN {
		return nil, denied
	}
	if err != nil {
		return nil, err
	}
	provider := "arn:" + role.Partition + ":iam::" + role.Account + ":oidc-provider/" + token.Provider.Name()
	caller := &Caller{Principal: policy.Principal{Account: role.Account, Provider: provider}}
	trusted, err := s.trusts(ctx, role, trustRequest{
		call:   &Call{Region: s.region, Caller: caller, Origin: call.Origin},
		action: "sts:AssumeRoleWithWebIdentity",
		keys:   webIdentityKeys(in, token),
	})
	if err != nil {
		return nil, err
	}
	if !trusted {
		return nil, denied
	}
	assumed, err := s.begin(ctx, role, in.RoleSessionName, in.Policy, in.DurationSeconds, sessionContent{Provider: provider, Subject: token.Subject})
	if err != nil {
		return nil, err
	}
	assumed.Provider, assumed.Audience, assumed.Subject = token.Provider.Issuer, token.Audience, token.Subject
	assumed.told(call, role.ARN)
	return assumed, nil
}

// verifyWebIdentity verifies a token for an account, with AWS's texts for what is wrong with it.
func (s *Service) verifyWebIdentity(ctx context.Context, account, text string) (*oidc.Token, error) {
	var token *oidc.Token
	err := oidc.ErrIssuer
	if s.web != nil {
		token, err = s.web.Verify(ctx, account, text)
	}
	if err == nil {
		return token, nil
	}
	refuse := func(code IdentityCode, format string, args ...any) (*oidc.Token, error) {
		refusal := identityErrorf(code, format, args...)
		refusal.Cause = err
		return nil, refusal
	}
	var expired *oidc.ExpiredError
	switch {
	case errors.As(err, &expired):
		return refuse(ExpiredWebIdentity, "Token expired: current date/time %d must be before the expiration date/time %d", expired.Now.Unix(), expired.Expired.Unix())
	case errors.Is(err, oidc.ErrMalformed):
		return refuse(InvalidIdentityToken, "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
	case errors.Is(err, oidc.ErrIssuer):
		return refuse(InvalidIdentityToken, "No OpenIDConnect provider found in your account for %s", oidc.Issuer(text))
	case errors.Is(err, oidc.ErrAudience):
		return refuse(InvalidIdentityToken, "Incorrect token audience")
	case errors.Is(err, oidc.ErrSignature):
		return refuse(InvalidIdentityToken, "Token signature verification failed")
	case errors.Is(err, oidc.ErrNotYet):
		return refuse(InvalidIdentityToken, "Token is not yet valid")
	case errors.Is(err, oidc.ErrClaims):
		return refuse(InvalidIdentityToken, "Missing a required claim")
	case errors.Is(err, oidc.ErrKeys):
		return refuse(InvalidIdentityToken, "Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity documentation for requirements")
	}
	return nil, err
}

// webIdentityKeys are the condition keys of AssumeRoleWithWebIdentity: those of the token begin with
// the provider's name (IAM User Guide, "Available keys for AWS OIDC federation").
func webIdentityKeys(in *WebIdentityRequest, token *oidc.Token) map[string][]string {
	name := token.Provider.Name()
	keys := map[string][]string{
		"sts:RoleSessionName": {in.RoleSessionName},
		name + ":sub":         {token.Subject},
		name + ":aud":         {token.Audience},
		name + ":oaud":        token.Audiences,
	}
	if len(token.AMR) > 0 {
		keys[name+":amr"] = token.AMR
	}
	return keys
}
