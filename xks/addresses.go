package xks

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
)

// ErrForbidden: the proxy's name leads to an address that is not connected to.
var ErrForbidden = errors.New("the external key store proxy is at an address that is not allowed")

// Who makes a key store chooses which address the server connects to and learns how that went. Addresses
// are therefore judged where a connection begins, whatever name led to them.

// privateNetworks are the machine itself and those of an organisation of its own (RFC 1918, 4193, 6598).
// Nothing writes to it.
var privateNetworks = prefixes("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "100.64.0.0/10")

// specialNetworks are the others that are not on the public Internet, or lead somewhere else than they say (IANA
// IPv4 and IPv6 Special-Purpose Address Registries): the machine's link with the metadata services of
// clouds, benchmarks, examples, multicast, translations. Nothing writes to it.
var specialNetworks = prefixes("0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
	"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
	"::/128", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
	"fe80::/10", "fec0::/10", "ff00::/8")

// metadataServices are where clouds give machines their credentials, beside the link: of Amazon, Google, Alibaba
// and Azure. Nothing writes to it.
var metadataServices = prefixes("fd00:ec2::/32", "fd20:ce::254/128", "100.100.100.200/32", "168.63.129.16/32")

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

func within(networks []netip.Prefix, address netip.Addr) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(address) })
}

// allows says whether proxies may be at an address: in Networks, if that is set; else on the public Internet,
// and, where proxies need not be as AWS wants them, on the machine itself and in private networks too.
func (s *Stores) allows(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	switch {
	case len(s.Networks) > 0:
		return within(s.Networks, address)
	case within(specialNetworks, address) || within(metadataServices, address):
		return false
	case within(privateNetworks, address):
		return s.Ports || s.RootCAs != nil
	}
	return true
}

// guard is the net.Dialer's Control that keeps connections from addresses that are not allowed.
func guard(allowed func(netip.Addr) bool) func(network, address string, _ syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrForbidden, err)
		}
		if !allowed(to.Addr()) {
			return fmt.Errorf("%w: %s", ErrForbidden, to.Addr())
		}
		return nil
	}
}
