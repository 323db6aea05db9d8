package ops

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"slices"
	"strings"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// Cluster is a token that a custom key store of the type AWS_CLOUDHSM can name by its id.
type Cluster struct {
	ID string
	// Token is how the token is reached. The URI's own PIN is not used: the store has it.
	Token hsm.Config
	// TrustAnchor is the DER certificate that the TrustAnchorCertificate of a store has to be; nil
	// takes any.
	TrustAnchor []byte
}

// maxKeyStores is AWS's quota of custom key stores in a Region of an account.
const maxKeyStores = 10

// newKeyStoreID makes a store's id: cks- and 17 hexadecimal digits.
func newKeyStoreID() string {
	var random [9]byte
	_, _ = rand.Read(random[:]) // crypto/rand never fails
	return "cks-" + hex.EncodeToString(random[:])[:17]
}

func keyStoreID(call *Call, id string) keystore.CustomKeyStoreID {
	scope := scopeOf(call)
	return keystore.CustomKeyStoreID{Partition: scope.Partition, Account: scope.Account, Region: scope.Region, ID: id}
}

// What a store's secrets are sealed for.
func passwordPurpose(storeID string) string { return "custom-key-store-password/" + storeID }
func secretPurpose(storeID string) string   { return "custom-key-store-secret/" + storeID }

func noSuchKeyStore(id string) error {
	return kms.Errorf(kms.CustomKeyStoreNotFoundException, "The custom key store %s does not exist.", id)
}

// keyStore finds a store of the caller's account in the request's Region.
func (s *Service) keyStore(ctx context.Context, call *Call, id string) (*keystore.CustomKeyStoreRecord, error) {
	record, err := s.store.CustomKeyStore(ctx, keyStoreID(call, id))
	if errors.Is(err, keystore.ErrNotFound) {
		return nil, noSuchKeyStore(id)
	}
	return record, err
}

// changeKeyStore changes a store's record in a transaction and has the connections follow. The
// change may run more than once, each time on a record that nobody else has.
func (s *Service) changeKeyStore(ctx context.Context, call *Call, id keystore.CustomKeyStoreID, change func(*keystore.Tx, *keystore.CustomKeyStoreRecord) error) error {
	err := s.update(ctx, call, func(tx *keystore.Tx) error {
		current, err := tx.CustomKeyStore(id)
		if errors.Is(err, keystore.ErrNotFound) {
			return noSuchKeyStore(id.ID)
		}
		if err != nil {
			return err
		}
		changed := current.Clone()
		if err := change(tx, changed); err != nil {
			return err
		}
		return tx.PutCustomKeyStore(changed)
	})
	if err == nil {
		s.connections.wake()
	}
	return err
}

// cluster finds a configured cluster.
func (s *Service) cluster(id string) (*Cluster, error) {
	i := slices.IndexFunc(s.clusters, func(c Cluster) bool { return c.ID == id })
	if i < 0 {
		return nil, kms.Errorf(kms.CloudHsmClusterNotFoundException, "The AWS CloudHSM cluster %s does not exist.", id)
	}
	return &s.clusters[i], nil
}

// activeCluster finds a configured cluster whose token is there.
func (s *Service) activeCluster(ctx context.Context, id string) (*Cluster, error) {
	cluster, err := s.cluster(id)
	if err != nil {
		return nil, err
	}
	if err := hsm.TokenPresent(ctx, cluster.Token.URI); err != nil {
		return nil, kms.Errorf(kms.CloudHsmClusterNotActiveException, "The AWS CloudHSM cluster %s is not active.", id).Because(err)
	}
	return cluster, nil
}

// checkTrustAnchor compares a TrustAnchorCertificate with the one that the cluster is configured
// with. White space and whatever surrounds the certificate do not count.
func (c *Cluster) checkTrustAnchor(given string) error {
	der, err := certificateOf(given)
	if err != nil {
		return kms.Errorf(kms.IncorrectTrustAnchorException, "The trust anchor certificate is not a PEM certificate.").Because(err)
	}
	if c.TrustAnchor != nil && !slices.Equal(der, c.TrustAnchor) {
		return kms.Errorf(kms.IncorrectTrustAnchorException, "The trust anchor certificate is not that of the AWS CloudHSM cluster %s.", c.ID)
	}
	return nil
}

// certificateOf gives the DER of the first certificate in a PEM text.
func certificateOf(text string) ([]byte, error) {
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			_, err := x509.ParseCertificate(block.Bytes)
			return block.Bytes, err
		}
	}
	return nil, errors.New("there is no certificate")
}

// checkKeyStoreRules refuses a store, a new one or a changed one, that would break a rule about all
// stores: the quota, unique names, endpoints and clusters.
func checkKeyStoreRules(tx *keystore.Tx, r *keystore.CustomKeyStoreRecord) error {
	all, err := tx.CustomKeyStores()
	if err != nil {
		return err
	}
	here := 0
	for _, other := range all {
		if other.CustomKeyStoreID() == r.CustomKeyStoreID() {
			here-- // a changed one counts once
		}
		if other.Scope() == r.Scope() {
			here++
		}
	}
	if here >= maxKeyStores {
		return kms.Errorf(kms.LimitExceededException, "You have reached the limit of %d custom key stores in this account and Region.", maxKeyStores)
	}
	for _, other := range all {
		if other.CustomKeyStoreID() == r.CustomKeyStoreID() {
			continue
		}
		if other.Scope() == r.Scope() && other.Name == r.Name {
			return kms.Errorf(kms.CustomKeyStoreNameInUseException, "The custom key store name %s is already in use.", r.Name)
		}
		// A token has one login for the whole process, so a cluster has one store of all accounts.
		if r.CloudHSM != nil && other.CloudHSM != nil && other.CloudHSM.ClusterID == r.CloudHSM.ClusterID {
			return kms.Errorf(kms.CloudHsmClusterInUseException, "The AWS CloudHSM cluster %s is already associated with a custom key store.", r.CloudHSM.ClusterID)
		}
		if r.External != nil && other.External != nil && other.Scope() == r.Scope() {
			if err := checkProxyUnique(r.External, other.External); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkProxyUnique refuses a proxy that another external store of the same account and Region has
// (AWS KMS Developer Guide, "Create an external key store", "Assemble the prerequisites").
func checkProxyUnique(mine, other *keystore.ExternalRecord) error {
	const vpc = kms.XksProxyConnectivityTypeVpcEndpointService
	sameEndpoint := strings.EqualFold(mine.Endpoint, other.Endpoint)
	switch {
	case sameEndpoint && mine.Path == other.Path:
		return kms.Errorf(kms.XksProxyUriInUseException, "The external key store proxy URI endpoint and path %s%s are already in use by another external key store.", mine.Endpoint, mine.Path)
	case sameEndpoint && (mine.Connectivity == vpc || other.Connectivity == vpc):
		return kms.Errorf(kms.XksProxyUriEndpointInUseException, "The external key store proxy URI endpoint %s is already in use by another external key store.", mine.Endpoint)
	case mine.VPCEndpointServiceName != "" && mine.VPCEndpointServiceName == other.VPCEndpointServiceName:
		return kms.Errorf(kms.XksProxyVpcEndpointServiceInUseException, "The VPC endpoint service %s is already in use by another external key store.", mine.VPCEndpointServiceName)
	}
	return nil
}

// wrongKeyStoreState is the error of an operation that a store's connection state forbids.
func wrongKeyStoreState(r *keystore.CustomKeyStoreRecord, operation string) error {
	return kms.Errorf(kms.CustomKeyStoreInvalidStateException, "The connection state of the custom key store %s is %s, which is not valid for %s.", r.ID, r.State, operation)
}
