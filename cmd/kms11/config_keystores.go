package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"regexp"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/ops"
	"github.com/kms11/kms11/xks"
)

// KeyStoresConfig is what custom key stores may be made of. The stores themselves are made and
// connected by the API.
type KeyStoresConfig struct {
	// Clusters are the tokens that stores of the type AWS_CLOUDHSM can name.
	Clusters []ClusterConfig `yaml:"clusters"`
	// External is how external key store proxies are reached.
	External ExternalConfig `yaml:"external"`
}

// ClusterConfig is a token under the name that AWS gives a cluster of HSMs.
type ClusterConfig struct {
	// ID is the CloudHsmClusterId: cluster- and 11 to 16 letters and digits 2 to 7.
	ID string `yaml:"id"`
	// Token is the token's PKCS #11 URI, with module-path and without a PIN, which is the store's
	// KeyStorePassword.
	Token string `yaml:"token"`
	// TrustAnchor is a PEM file: the certificate that a store's TrustAnchorCertificate has to be. None:
	// any certificate.
	TrustAnchor string `yaml:"trustanchor"`
}

// ExternalConfig is for proxies that are not as AWS wants them: on a port, in a network of one's own, with
// a certificate of a private authority, or asking for a client certificate.
type ExternalConfig struct {
	// Ports lets an XksProxyUriEndpoint have a port.
	Ports bool `yaml:"ports"`
	// Networks are the addresses and ranges (CIDR) at which proxies may be. None: those of the public
	// Internet, and with Ports or CA the machine itself and private networks too; never link-local and the like.
	Networks []string `yaml:"networks"`
	// CA is a PEM file of the roots that proxies' certificates come from; none: the system's.
	CA string `yaml:"ca"`
	// Certificate and Key are PEM files: the client certificate for proxies that want one, and its key.
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
	// Budget is how long a request to a proxy may take with everything that belongs to it, in
	// milliseconds; 0 means 250, as at AWS.
	Budget int `yaml:"budget"`
	// InFlight bounds the requests to one proxy at a time; 0 means 256.
	InFlight int `yaml:"inflight"`
}

// maxBudget is far more than any client of a KMS waits.
const maxBudget = 60_000

var clusterForm = regexp.MustCompile(`^cluster-[2-7a-zA-Z]{11,16}$`)

// check refuses settings that cannot work or would not be safe.
func (c *KeyStoresConfig) check() error {
	ids, tokens := map[string]bool{}, map[string]bool{}
	for _, cluster := range c.Clusters {
		uri, err := hsm.ParseURI(cluster.Token)
		switch {
		case !clusterForm.MatchString(cluster.ID):
			return fmt.Errorf("config: keystores.clusters: id %q is not cluster- and 11 to 16 letters and digits 2 to 7", cluster.ID)
		case ids[cluster.ID]:
			return fmt.Errorf("config: keystores.clusters: %s is there twice", cluster.ID)
		case err != nil:
			return fmt.Errorf("config: keystores.clusters: %s: %w", cluster.ID, err)
		case uri.ModulePath == "":
			return fmt.Errorf("config: keystores.clusters: %s: the PKCS #11 URI has no module-path", cluster.ID)
		case uri.PINSource != "" || len(uri.Warnings()) > 0:
			return fmt.Errorf("config: keystores.clusters: %s: the PKCS #11 URI has a PIN, which belongs to the custom key store (KeyStorePassword)", cluster.ID)
		case tokens[uri.String()]:
			return fmt.Errorf("config: keystores.clusters: the token of %s has another id too", cluster.ID)
		}
		ids[cluster.ID], tokens[uri.String()] = true, true
	}
	if _, err := c.External.networks(); err != nil {
		return fmt.Errorf("config: keystores.external.networks: %w", err)
	}
	switch e := c.External; {
	case (e.Certificate == "") != (e.Key == ""):
		return errors.New("config: keystores.external needs both certificate and key, or neither")
	case e.Budget < 0 || e.Budget > maxBudget:
		return fmt.Errorf("config: keystores.external.budget is 0 to %d", maxBudget)
	case e.InFlight < 0:
		return errors.New("config: keystores.external.inflight is not negative")
	}
	return nil
}

func (c *ExternalConfig) networks() (networks []netip.Prefix, err error) {
	for _, text := range c.Networks {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			address, err := netip.ParseAddr(text)
			if err != nil || address.Zone() != "" {
				return nil, fmt.Errorf("%q is neither an address nor a range in CIDR form", text)
			}
			network = netip.PrefixFrom(address, address.BitLen())
		}
		networks = append(networks, network.Masked())
	}
	return networks, nil
}

// openKeyStores reads the files that the settings name.
func (b *backend) openKeyStores(c Config, log *slog.Logger) error {
	for _, setting := range c.KeyStores.Clusters {
		uri, err := hsm.ParseURI(setting.Token)
		if err != nil {
			return err
		}
		cluster := ops.Cluster{ID: setting.ID, Token: tokenConfig(c, uri, log)}
		if setting.TrustAnchor != "" {
			if cluster.TrustAnchor, err = readCertificate(setting.TrustAnchor); err != nil {
				return fmt.Errorf("clusters: %s: trustanchor: %w", setting.ID, err)
			}
		}
		b.clusters = append(b.clusters, cluster)
	}
	e := c.KeyStores.External
	networks, err := e.networks()
	if err != nil {
		return fmt.Errorf("external.networks: %w", err)
	}
	stores := &xks.Stores{Ports: e.Ports, Networks: networks, Budget: time.Duration(e.Budget) * time.Millisecond, InFlight: e.InFlight, Logger: log}
	if e.CA != "" {
		text, err := os.ReadFile(e.CA)
		if err != nil {
			return fmt.Errorf("external.ca: %w", err)
		}
		if stores.RootCAs = x509.NewCertPool(); !stores.RootCAs.AppendCertsFromPEM(text) {
			return fmt.Errorf("external.ca: %s holds no certificate", e.CA)
		}
	}
	if e.Certificate != "" {
		certificate, err := tls.LoadX509KeyPair(e.Certificate, e.Key)
		if err != nil {
			return fmt.Errorf("external: %w", err)
		}
		stores.Certificates = []tls.Certificate{certificate}
	}
	b.proxies = stores
	return nil
}

// readCertificate gives the DER of the first certificate in a PEM file.
func readCertificate(file string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			_, err := x509.ParseCertificate(block.Bytes)
			return block.Bytes, err
		}
	}
	return nil, fmt.Errorf("%s holds no certificate", file)
}
