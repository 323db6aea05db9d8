package ops

import (
	"cmp"
	"context"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// UpdateCustomKeyStore implements the operation UpdateCustomKeyStore. What a connection is made with
// can be changed while the store is disconnected only, except for an external store's path and
// credential, which a new connection takes up at once.
func (s *Service) UpdateCustomKeyStore(ctx context.Context, call *Call, in *kms.UpdateCustomKeyStoreRequest) (*kms.UpdateCustomKeyStoreResponse, error) {
	if err := s.authorizeAccount(call); err != nil {
		return nil, err
	}
	record, err := s.keyStore(ctx, call, in.CustomKeyStoreId)
	if err != nil {
		return nil, err
	}
	if err := checkParameters(record.Type, updateParameters(in)); err != nil {
		return nil, err
	}
	change := s.updateCloudHSM
	if record.External != nil {
		change = s.updateExternal
	}
	apply, err := change(ctx, call, record, in)
	if err != nil {
		return nil, err
	}
	err = s.changeKeyStore(ctx, call, record.CustomKeyStoreID(), func(tx *keystore.Tx, r *keystore.CustomKeyStoreRecord) error {
		r.Name = cmp.Or(in.NewCustomKeyStoreName, r.Name)
		if err := apply(r); err != nil {
			return err
		}
		return checkKeyStoreRules(tx, r)
	})
	if err != nil {
		return nil, err
	}
	return &kms.UpdateCustomKeyStoreResponse{}, nil
}

// updateCloudHSM checks the changes of a store in a token and gives what makes them.
func (s *Service) updateCloudHSM(ctx context.Context, call *Call, record *keystore.CustomKeyStoreRecord, in *kms.UpdateCustomKeyStoreRequest) (func(*keystore.CustomKeyStoreRecord) error, error) {
	apply := func(r *keystore.CustomKeyStoreRecord, sealed []byte) error {
		if in.CloudHsmClusterId == "" && in.KeyStorePassword == "" {
			return nil
		}
		if r.State != kms.ConnectionStateTypeDisconnected {
			return wrongKeyStoreState(r, call.Operation)
		}
		r.Generation++
		if in.CloudHsmClusterId != "" {
			// The administrator vouches for the cluster: a token restored without the anchor is
			// taken, and gets one.
			r.CloudHSM.ClusterID, r.CloudHSM.Anchored = in.CloudHsmClusterId, false
		}
		if sealed != nil {
			r.CloudHSM.SealedPassword = sealed
			r.CloudHSM.Verified, r.CloudHSM.Refused, r.CloudHSM.Trying = false, "", time.Time{}
		}
		return nil
	}
	if err := apply(record.Clone(), nil); err != nil {
		return nil, err
	}
	if in.CloudHsmClusterId != "" {
		cluster, err := s.activeCluster(ctx, in.CloudHsmClusterId)
		if err != nil {
			return nil, err
		}
		if cluster.checkTrustAnchor(record.CloudHSM.TrustAnchor) != nil {
			return nil, kms.Errorf(kms.CloudHsmClusterNotRelatedException, "The AWS CloudHSM cluster %s has a different cluster certificate than the original cluster of the custom key store.", in.CloudHsmClusterId)
		}
	}
	var sealed []byte
	if in.KeyStorePassword != "" {
		var err error
		if sealed, err = s.sealSecret(ctx, passwordPurpose(record.ID), in.KeyStorePassword); err != nil {
			return nil, err
		}
	}
	return func(r *keystore.CustomKeyStoreRecord) error { return apply(r, sealed) }, nil
}

// updateExternal checks the changes of an external store, asks the proxy that it would have for its
// health, and gives what makes them.
func (s *Service) updateExternal(ctx context.Context, call *Call, record *keystore.CustomKeyStoreRecord, in *kms.UpdateCustomKeyStoreRequest) (func(*keystore.CustomKeyStoreRecord) error, error) {
	credential := in.XksProxyAuthenticationCredential
	bound := in.XksProxyUriEndpoint != "" || in.XksProxyConnectivity != "" || in.XksProxyVpcEndpointServiceName != "" || in.XksProxyVpcEndpointServiceOwner != ""
	if !bound && in.XksProxyUriPath == "" && credential == nil {
		return func(*keystore.CustomKeyStoreRecord) error { return nil }, nil // a new name at most
	}
	apply := func(r *keystore.CustomKeyStoreRecord, sealed []byte) error {
		if bound && r.State != kms.ConnectionStateTypeDisconnected {
			return wrongKeyStoreState(r, call.Operation)
		}
		r.Generation++
		e := r.External
		e.Endpoint = cmp.Or(in.XksProxyUriEndpoint, e.Endpoint)
		e.Path = cmp.Or(in.XksProxyUriPath, e.Path)
		e.Connectivity = cmp.Or(in.XksProxyConnectivity, e.Connectivity)
		if in.XksProxyConnectivity == kms.XksProxyConnectivityTypePublicEndpoint {
			e.VPCEndpointServiceName, e.VPCEndpointServiceOwner = "", ""
		}
		e.VPCEndpointServiceName = cmp.Or(in.XksProxyVpcEndpointServiceName, e.VPCEndpointServiceName)
		e.VPCEndpointServiceOwner = cmp.Or(in.XksProxyVpcEndpointServiceOwner, e.VPCEndpointServiceOwner)
		if credential != nil {
			e.AccessKeyID, e.SealedSecret = credential.AccessKeyId, sealed
		}
		return s.checkExternal(e)
	}
	wanted := record.Clone()
	if err := apply(wanted, nil); err != nil {
		return nil, err
	}
	if err := s.tryKeyStoreRules(ctx, wanted); err != nil {
		return nil, err
	}
	secret, err := s.updatedSecret(ctx, record, credential)
	if err != nil {
		return nil, err
	}
	// AWS KMS asks the proxy behind a VPC endpoint service only while the store is connected.
	if wanted.External.Connectivity == kms.XksProxyConnectivityTypePublicEndpoint || record.State == kms.ConnectionStateTypeConnected {
		if err := s.probeProxy(ctx, call, wanted, secret); err != nil {
			return nil, managementError(err)
		}
	}
	var sealed []byte
	if credential != nil {
		if sealed, err = s.sealSecret(ctx, secretPurpose(record.ID), secret); err != nil {
			return nil, err
		}
	}
	return func(r *keystore.CustomKeyStoreRecord) error { return apply(r, sealed) }, nil
}

// updatedSecret is the secret that a store would have after an update.
func (s *Service) updatedSecret(ctx context.Context, record *keystore.CustomKeyStoreRecord, credential *kms.XksProxyAuthenticationCredentialType) (string, error) {
	if credential != nil {
		return credential.RawSecretAccessKey, nil
	}
	plain, err := s.domain.Open(ctx, secretPurpose(record.ID), record.External.SealedSecret)
	defer clear(plain)
	return string(plain), tokenError(err)
}
