package ops

import (
	"testing"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
)

// TestTokens has tokens of every use, some of which are down, and wants each to be told of once.
func TestTokens(t *testing.T) {
	h := newStoreHarness(t)
	uri := hsmtest.NewURI(t).String()
	h.service = New(Config{
		Store: h.store, Domain: h.domain, Account: account, Region: testRegion, Serves: servesRegion, Now: h.clock.Now,
		Regions: map[string]*hsm.Domain{ireland: hsmtest.Domain(t), oregon: nil}, RegionURIs: map[string][]string{oregon: {uri}},
		Clusters: h.clusters, Proxies: h.proxies,
	})
	t.Cleanup(func() { h.closeStores(h.service) })
	only := hsmtest.Token(t)
	NewProxy(h.service, hsm.NewObjectTokens([]*hsm.Token{only}))
	store, external := h.createStore(clusterA, "store"), h.createProxyStore("proxy")
	h.connect(store)
	h.connect(external)

	type seen struct {
		use              TokenUse
		region, keyStore string
		up               bool
	}
	want := []seen{
		{TokenOfDomain, "", "", true},
		{TokenOfRegion, ireland, "", true},
		{TokenOfRegion, oregon, "", false},
		{TokenOfKeyStore, testRegion, store, true},
		{TokenOfXKS, "", "", true},
	}
	check := func() []TokenStatus {
		t.Helper()
		all := h.service.Tokens()
		if len(all) != len(want) {
			t.Fatalf("%d tokens, want %d: %+v", len(all), len(want), all)
		}
		for i, token := range all {
			if got := (seen{token.Use, token.Region, token.KeyStore, token.Up}); got != want[i] {
				t.Errorf("token %d is %+v, want %+v", i, got, want[i])
			}
			if token.URI == "" || token.Up != (token.Cause == "") || token.Up == token.Since.IsZero() {
				t.Errorf("token %d is %+v", i, token)
			}
		}
		return all
	}
	if all := check(); all[2].URI != uri {
		t.Errorf("the Region that waits has the token %s", all[2].URI)
	}
	h.service.OpenRegion(oregon, hsmtest.Domain(t))
	want[2].up = true
	check()

	// A process that starts while the store's token is away knows it all the same.
	if !hsmtest.Has(hsmtest.GoneStorage) {
		return
	}
	h.closeStores(h.service)
	back := h.hideToken(clusterA)
	defer back()
	h.service = h.storeService()
	h.follow()
	all := h.service.Tokens()
	if len(all) != 2 || all[1].Use != TokenOfKeyStore || all[1].Up || all[1].Cause == "" || all[1].URI == "" {
		t.Errorf("with the store's token away: %+v", all)
	}
	counts, err := h.service.CountKeyStores(t.Context())
	if err != nil || counts[KeyStoreGroup{"AWS_CLOUDHSM", "CONNECTED"}] != 1 || counts[KeyStoreGroup{"EXTERNAL_KEY_STORE", "CONNECTED"}] != 1 || len(counts) != 2 {
		t.Errorf("%v, %v", counts, err)
	}
}

// TestOverdue counts what is due and not done.
func TestOverdue(t *testing.T) {
	h := newHarness(t)
	check := func(want Overdue) {
		t.Helper()
		if got, err := h.service.Overdue(t.Context()); err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	check(Overdue{})
	for range 2 {
		h.must("ScheduleKeyDeletion", in{"KeyId": h.createKey(nil).KeyId, "PendingWindowInDays": 7})
	}
	check(Overdue{})
	h.clock.Advance(7*day + 90*time.Second)
	check(Overdue{Entries: 2, Oldest: 90 * time.Second})
	if _, err := h.service.RunDue(t.Context(), h.clock.Now()); err != nil {
		t.Fatal(err)
	}
	check(Overdue{})
}
