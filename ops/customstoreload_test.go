package ops

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kms11/kms11/kms"
)

// TestStoresUnderLoad uses keys while their stores are disconnected and connected again: a request
// works or finds its key unavailable, and nothing else.
func TestStoresUnderLoad(t *testing.T) {
	h := newStoreHarness(t)
	cloud, external := h.createStore(clusterA, "cloud"), h.createProxyStore("proxy")
	h.connect(cloud)
	h.connect(external)
	keys := []*kms.KeyMetadata{h.storeKey(cloud), h.externalKey(external, "k")}
	ctx, cancel := context.WithCancel(t.Context())
	var running, load sync.WaitGroup
	running.Go(func() { h.service.Run(ctx) })
	defer func() { cancel(); running.Wait() }()

	var worked, unavailable atomic.Int64
	stop := make(chan struct{})
	for _, key := range keys {
		blob := h.encrypt(key.KeyId)
		for range 3 {
			load.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					_, err := h.invoke("Decrypt", in{"CiphertextBlob": blob, "EncryptionContext": in{"a": "b"}})
					var known *kms.Error
					switch {
					case err == nil:
						worked.Add(1)
					case errors.As(err, &known) && known.Code == kms.KMSInvalidStateException &&
						(known.Message == key.Arn+" is unavailable." || known.Message == clusterText):
						unavailable.Add(1)
					default:
						t.Errorf("%s: %v", key.Origin, err)
						return
					}
				}
			})
		}
	}
	settle := func(store string, want kms.ConnectionStateType) {
		until(t, func() bool { return h.describe(store).ConnectionState == want })
	}
	for range 5 {
		for _, store := range []string{cloud, external} {
			h.must("DisconnectCustomKeyStore", in{"CustomKeyStoreId": store})
			h.must("ConnectCustomKeyStore", in{"CustomKeyStoreId": store})
			settle(store, kms.ConnectionStateTypeConnected)
			h.must("UpdateCustomKeyStore", in{"CustomKeyStoreId": external, "XksProxyUriPath": "/proxy/kms/xks/v1"})
		}
	}
	before := worked.Load()
	until(t, func() bool { return worked.Load() > before+20 })
	close(stop)
	load.Wait()
	t.Logf("%d requests worked, %d found their key unavailable", worked.Load(), unavailable.Load())
}
