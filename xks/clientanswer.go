package xks

import (
	"bytes"
	"fmt"
)

func malformed(why string) error { return fmt.Errorf("%w: %s", ErrMalformed, why) }

// check says what in the answer is not as the specification has it.
func (r *HealthResponse) check() error {
	switch {
	case r.FleetSize < 1:
		return malformed("xksProxyFleetSize is not greater than zero")
	case r.Vendor == "" || r.Model == "" || r.EKMVendor == "":
		return malformed("xksProxyVendor, xksProxyModel or ekmVendor is missing")
	case len(r.EKMFleet) < 1 || len(r.EKMFleet) > MaxFleetDetails:
		return malformed(fmt.Sprintf("ekmFleetDetails has %d entries, not 1 to %d", len(r.EKMFleet), MaxFleetDetails))
	}
	for _, e := range r.EKMFleet {
		if e.ID == "" || e.Model == "" {
			return malformed("an entry of ekmFleetDetails has no id or no model")
		}
		if e.Health != StatusActive && e.Health != StatusDegraded && e.Health != StatusUnavail {
			return malformed("a healthStatus is not ACTIVE, DEGRADED or UNAVAILABLE")
		}
	}
	return nil
}

func (r *MetadataResponse) check() error {
	switch {
	case r.KeySpec == "":
		return malformed("keySpec is missing")
	case len(r.KeyUsage) == 0 || len(r.KeyUsage) > MaxKeyUsages:
		return malformed(fmt.Sprintf("keyUsage has %d values, not 1 to %d", len(r.KeyUsage), MaxKeyUsages))
	case r.KeyStatus != KeyEnabled && r.KeyStatus != KeyDisabled:
		return malformed("keyStatus is not ENABLED or DISABLED")
	}
	return nil
}

func (r *EncryptResponse) check(in *EncryptRequest) error {
	switch {
	case len(r.Ciphertext) != len(in.Plaintext):
		return malformed("ciphertext and plaintext have different lengths")
	case len(r.IV) != ShortIV && len(r.IV) != LongIV:
		return malformed(fmt.Sprintf("initializationVector has %d bytes, not 12 or 16", len(r.IV)))
	case len(r.Tag) != TagSize:
		return malformed(fmt.Sprintf("authenticationTag has %d bytes, not 16", len(r.Tag)))
	case len(r.Metadata) > MaxCiphertextMetadata:
		return malformed(fmt.Sprintf("ciphertextMetadata has %d bytes, more than 20", len(r.Metadata)))
	case in.Integrity == "":
		return nil
	}
	if want := IntegrityValue(in.AAD, r.Metadata, r.IV, r.Ciphertext, r.Tag); !bytes.Equal(want[:], r.Integrity) {
		return malformed("ciphertextDataIntegrityValue is not that of the answer")
	}
	return nil
}
