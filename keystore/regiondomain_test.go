package keystore_test

import (
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

func regionDomain(region, id string) keystore.RegionDomain {
	return keystore.RegionDomain{Region: region, Created: time.Unix(1_800_000_000, 5).UTC(),
		Domain: kms.Domain{ID: id, Scheme: kms.DeriveECB, Keys: []kms.DomainKey{{Role: kms.RoleWrap, Version: 1, ObjectID: []byte{1}, Check: []byte{2}}}}}
}

func putRegion(t *testing.T, s *keystore.Store, r keystore.RegionDomain) error {
	t.Helper()
	return s.Update(t.Context(), func(tx *keystore.Tx) error { return tx.PutRegionDomain(r) })
}

// TestRegionDomains: a Region's domain is for ever, whatever else about it may change.
func TestRegionDomains(t *testing.T) {
	e, a := newEngine(t), newAuthenticator()
	s := newStore(t, e, a)
	second, first := regionDomain("eu-west-1", "02"), regionDomain("ap-south-1", "01")
	for _, r := range []keystore.RegionDomain{second, first} {
		if err := putRegion(t, s, r); err != nil {
			t.Fatal(err)
		}
	}
	second.Domain.Transfer = &kms.Material{ID: "t", Ordinal: 1, Created: second.Created, Blob: []byte{7}}
	if err := putRegion(t, s, second); err != nil {
		t.Fatal(err)
	}
	if err := putRegion(t, s, regionDomain("eu-west-1", "03")); !errors.Is(err, keystore.ErrExists) {
		t.Errorf("another domain for a Region: %v", err)
	}
	for name, bad := range map[string]keystore.RegionDomain{
		"the domain of another Region": regionDomain("us-west-2", "01"),
		"the store's own domain":       regionDomain("us-west-2", domain(1).ID),
		"no Region":                    regionDomain("", "04"),
		"no domain":                    regionDomain("us-west-2", ""),
		"no time":                      {Region: "us-west-2", Domain: kms.Domain{ID: "05"}},
	} {
		if err := putRegion(t, s, bad); !errors.Is(err, keystore.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	putKey(t, s, newKey("k")) // which writes the header again
	again, err := keystore.Open(t.Context(), e, a, keystore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	h, err := again.Header(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(h.Regions, []keystore.RegionDomain{first, second}) {
		t.Errorf("the Regions are %+v", h.Regions)
	}
	if got := h.RegionDomain("eu-west-1"); got == nil || got.Domain.ID != "02" || h.RegionDomain("us-west-2") != nil {
		t.Errorf("the domain of eu-west-1 is %+v", got)
	}
}

// olderRecord is a record as an earlier program wrote it.
func olderRecord(t *testing.T, a *authenticator, storeID, place string, kind byte, revision uint64, content string) []byte {
	t.Helper()
	b := []byte{1, kind, 0, 1}
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint64(b, revision)
	b = binary.BigEndian.AppendUint32(b, uint32(len(content)))
	b = append(b, content...)
	input := []byte("kms11 store record 1\x00")
	for _, part := range []string{storeID, place} {
		input = binary.BigEndian.AppendUint32(input, uint32(len(part)))
		input = append(input, part...)
	}
	mac, err := a.MAC(t.Context(), 1, append(input, b...))
	if err != nil {
		t.Fatal(err)
	}
	return append(b, mac...)
}

// TestOlderContents opens a store of content versions 1, whose material names no domain, and writes it in
// the new ones.
func TestOlderContents(t *testing.T) {
	e, a := newEngine(t), newAuthenticator()
	const storeID = "0ca33f60-9f26-4d5b-8a5c-1c2ed7f1cf05"
	header := `{"storeId":"` + storeID + `","created":"2026-01-02T03:04:05Z","domain":{"id":"` + domain(1).ID + `","scheme":"ecb",` +
		`"keys":[{"role":"record","version":1,"objectId":"cmVjb3JkAAAAAQ==","check":"CQk="}]}}`
	key := `{"partition":"aws","account":"111122223333","region":"us-east-1","id":"k","created":"2026-01-02T03:04:05Z",` +
		`"spec":"SYMMETRIC_DEFAULT","usage":"ENCRYPT_DECRYPT","origin":"AWS_KMS","manager":"CUSTOMER","state":"Enabled","policy":"{}",` +
		`"materials":[{"id":"ab","ordinal":1,"created":"2026-01-02T03:04:05Z","scheme":"ecb","wrap":"RFC3394","domainKey":1,"length":32,"blob":"AQ=="}],"current":1}`
	due := `{"due":"2026-02-02T03:04:05Z","action":"destroy-material","partition":"aws","account":"111122223333","region":"us-east-1","keyId":"gone",` +
		`"material":{"id":"cd","ordinal":1,"created":"2026-01-02T03:04:05Z","objectId":"AQ=="}}`
	const duePlace = "-/-/-/due/2026-02-02T03:04:05.000000000Z,destroy-material,aws,111122223333,us-east-1,gone,cd"
	rawPut(t, e, headerKey, olderRecord(t, a, "", headerKey, 1, 3, header))
	rawPut(t, e, keyPrefix+"k", olderRecord(t, a, storeID, keyPrefix+"k", 2, 2, key))
	rawPut(t, e, duePlace, olderRecord(t, a, storeID, duePlace, 6, 3, due))

	s, err := keystore.Open(t.Context(), e, a, keystore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	h, err := s.Header(t.Context())
	if err != nil || h.Format != 1 || h.StoreID != storeID || h.Regions != nil {
		t.Errorf("the header is %+v, %v", h, err)
	}
	r, err := s.Key(t.Context(), newKey("k").KeyID())
	if err != nil {
		t.Fatal(err)
	}
	if m := r.CurrentMaterial(); m == nil || m.Domain != "" || m.ID != "ab" {
		t.Errorf("the material is %+v", m)
	}
	if entry, err := s.Due(t.Context(), strings.TrimPrefix(duePlace, "-/-/-/due/")); err != nil || entry.Material.ID != "cd" {
		t.Errorf("the due entry is %+v, %v", entry, err)
	}
	changed := r.Clone()
	changed.Description = "written anew"
	err = s.Update(t.Context(), func(tx *keystore.Tx) error {
		if err := tx.PutRegionDomain(regionDomain("eu-west-1", "02")); err != nil {
			return err
		}
		return tx.PutKey(changed)
	})
	if err != nil {
		t.Fatal(err)
	}
	for place, want := range map[string][2]byte{headerKey: {1, 3}, keyPrefix + "k": {2, 2}} {
		if raw := rawGet(t, e, place); raw[1] != want[0] || raw[2] != 0 || raw[3] != want[1] {
			t.Errorf("%s is of kind %d and content version %d", place, raw[1], raw[2:4])
		}
	}
}
