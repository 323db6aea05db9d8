package ops

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// CreateCustomKeyStore implements the operation CreateCustomKeyStore. The store is not connected
// afterwards. The proxy of an external one with a public endpoint is asked for its health first.
func (s *Service) CreateCustomKeyStore(ctx context.Context, call *Call, in *kms.CreateCustomKeyStoreRequest) (*kms.CreateCustomKeyStoreResponse, error) {
	if err := s.authorizeAccount(call); err != nil {
		return nil, err
	}
	id := keyStoreID(call, newKeyStoreID())
	record := &keystore.CustomKeyStoreRecord{
		Partition: id.Partition, Account: id.Account, Region: id.Region, ID: id.ID,
		Name:       in.CustomKeyStoreName,
		Type:       cmp.Or(in.CustomKeyStoreType, kms.CustomKeyStoreTypeAwsCloudhsm),
		Created:    s.now().UTC(),
		State:      kms.ConnectionStateTypeDisconnected,
		Generation: 1,
	}
	if err := checkParameters(record.Type, createParameters(in)); err != nil {
		return nil, err
	}
	var err error
	if record.Type == kms.CustomKeyStoreTypeAwsCloudhsm {
		err = s.newCloudHSM(ctx, record, in)
	} else {
		err = s.newExternal(ctx, call, record, in)
	}
	if err != nil {
		return nil, err
	}
	err = s.update(ctx, call, func(tx *keystore.Tx) error {
		if err := checkKeyStoreRules(tx, record); err != nil {
			return err
		}
		return tx.CreateCustomKeyStore(record)
	})
	if err != nil {
		return nil, err
	}
	return &kms.CreateCustomKeyStoreResponse{CustomKeyStoreId: record.ID}, nil
}

// tryKeyStoreRules checks the rules ahead of what costs more; the transaction that writes decides.
func (s *Service) tryKeyStoreRules(ctx context.Context, r *keystore.CustomKeyStoreRecord) error {
	return s.store.Update(ctx, func(tx *keystore.Tx) error { return checkKeyStoreRules(tx, r) })
}

func (s *Service) newCloudHSM(ctx context.Context, r *keystore.CustomKeyStoreRecord, in *kms.CreateCustomKeyStoreRequest) error {
	r.CloudHSM = &keystore.CloudHSMRecord{ClusterID: in.CloudHsmClusterId, TrustAnchor: in.TrustAnchorCertificate}
	if err := s.tryKeyStoreRules(ctx, r); err != nil {
		return err
	}
	cluster, err := s.activeCluster(ctx, in.CloudHsmClusterId)
	if err != nil {
		return err
	}
	if err := cluster.checkTrustAnchor(in.TrustAnchorCertificate); err != nil {
		return err
	}
	r.CloudHSM.SealedPassword, err = s.sealSecret(ctx, passwordPurpose(r.ID), in.KeyStorePassword)
	return err
}

func (s *Service) newExternal(ctx context.Context, call *Call, r *keystore.CustomKeyStoreRecord, in *kms.CreateCustomKeyStoreRequest) error {
	r.External = &keystore.ExternalRecord{
		Connectivity:            in.XksProxyConnectivity,
		Endpoint:                in.XksProxyUriEndpoint,
		Path:                    in.XksProxyUriPath,
		VPCEndpointServiceName:  in.XksProxyVpcEndpointServiceName,
		VPCEndpointServiceOwner: in.XksProxyVpcEndpointServiceOwner,
		AccessKeyID:             in.XksProxyAuthenticationCredential.AccessKeyId,
	}
	if err := s.checkExternal(r.External); err != nil {
		return err
	}
	if err := s.tryKeyStoreRules(ctx, r); err != nil {
		return err
	}
	secret := in.XksProxyAuthenticationCredential.RawSecretAccessKey
	if r.External.Connectivity == kms.XksProxyConnectivityTypePublicEndpoint {
		if err := s.probeProxy(ctx, call, r, secret); err != nil {
			return managementError(err)
		}
	}
	var err error
	r.External.SealedSecret, err = s.sealSecret(ctx, secretPurpose(r.ID), secret)
	return err
}

// sealSecret has the domain seal a secret of a store.
func (s *Service) sealSecret(ctx context.Context, purpose, secret string) ([]byte, error) {
	plain := []byte(secret)
	defer clear(plain)
	sealed, err := s.domain.Seal(ctx, purpose, plain)
	return sealed, tokenError(err)
}

// checkExternal checks what the members of an external store's configuration say together.
func (s *Service) checkExternal(r *keystore.ExternalRecord) error {
	if s.proxies == nil {
		return kms.Errorf(kms.UnsupportedOperationException, "External key stores are not supported: the server has no settings for them.")
	}
	if host := strings.TrimPrefix(r.Endpoint, "https://"); strings.Contains(host, ":") && !s.proxies.AllowPorts() {
		return kms.Errorf(kms.ValidationException, "1 validation error detected: Value '%s' at 'xksProxyUriEndpoint' failed to satisfy constraint: Member must satisfy regular expression pattern: ^https://[a-zA-Z0-9.-]+$", r.Endpoint)
	}
	inVPC := r.Connectivity == kms.XksProxyConnectivityTypeVpcEndpointService
	switch {
	case inVPC && r.VPCEndpointServiceName == "":
		return kms.Errorf(kms.ValidationException, "XksProxyVpcEndpointServiceName is required when XksProxyConnectivity is VPC_ENDPOINT_SERVICE.")
	case !inVPC && (r.VPCEndpointServiceName != "" || r.VPCEndpointServiceOwner != ""):
		return kms.Errorf(kms.ValidationException, "XksProxyVpcEndpointServiceName and XksProxyVpcEndpointServiceOwner are valid only when XksProxyConnectivity is VPC_ENDPOINT_SERVICE.")
	}
	return nil
}

// parameter is a member of a request that belongs to one type of store.
type parameter struct {
	name     string
	given    bool
	of       kms.CustomKeyStoreType
	required bool
}

func createParameters(in *kms.CreateCustomKeyStoreRequest) []parameter {
	const hsm, external = kms.CustomKeyStoreTypeAwsCloudhsm, kms.CustomKeyStoreTypeExternalKeyStore
	return []parameter{
		{"CloudHsmClusterId", in.CloudHsmClusterId != "", hsm, true},
		{"TrustAnchorCertificate", in.TrustAnchorCertificate != "", hsm, true},
		{"KeyStorePassword", in.KeyStorePassword != "", hsm, true},
		{"XksProxyUriEndpoint", in.XksProxyUriEndpoint != "", external, true},
		{"XksProxyUriPath", in.XksProxyUriPath != "", external, true},
		{"XksProxyAuthenticationCredential", in.XksProxyAuthenticationCredential != nil, external, true},
		{"XksProxyConnectivity", in.XksProxyConnectivity != "", external, true},
		{"XksProxyVpcEndpointServiceName", in.XksProxyVpcEndpointServiceName != "", external, false},
		{"XksProxyVpcEndpointServiceOwner", in.XksProxyVpcEndpointServiceOwner != "", external, false},
	}
}

func updateParameters(in *kms.UpdateCustomKeyStoreRequest) []parameter {
	const hsm, external = kms.CustomKeyStoreTypeAwsCloudhsm, kms.CustomKeyStoreTypeExternalKeyStore
	return []parameter{
		{"CloudHsmClusterId", in.CloudHsmClusterId != "", hsm, false},
		{"KeyStorePassword", in.KeyStorePassword != "", hsm, false},
		{"XksProxyUriEndpoint", in.XksProxyUriEndpoint != "", external, false},
		{"XksProxyUriPath", in.XksProxyUriPath != "", external, false},
		{"XksProxyAuthenticationCredential", in.XksProxyAuthenticationCredential != nil, external, false},
		{"XksProxyConnectivity", in.XksProxyConnectivity != "", external, false},
		{"XksProxyVpcEndpointServiceName", in.XksProxyVpcEndpointServiceName != "", external, false},
		{"XksProxyVpcEndpointServiceOwner", in.XksProxyVpcEndpointServiceOwner != "", external, false},
	}
}

// checkParameters refuses members of the other type, and a type without the members that it needs.
func checkParameters(of kms.CustomKeyStoreType, parameters []parameter) error {
	var foreign, missing []string
	for _, p := range parameters {
		switch {
		case p.given && p.of != of:
			foreign = append(foreign, p.name)
		case !p.given && p.of == of && p.required:
			missing = append(missing, p.name)
		}
	}
	var faults []string
	if len(missing) > 0 {
		faults = append(faults, fmt.Sprintf("%s must be specified for a custom key store of the type %s.", strings.Join(missing, ", "), of))
	}
	if len(foreign) > 0 {
		faults = append(faults, fmt.Sprintf("%s cannot be specified for a custom key store of the type %s.", strings.Join(foreign, ", "), of))
	}
	if len(faults) == 0 {
		return nil
	}
	return kms.Errorf(kms.ValidationException, "%s", strings.Join(faults, " "))
}
