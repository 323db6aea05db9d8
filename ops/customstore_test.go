package ops

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// storeHarness is a harness with two clusters and external proxies that live in memory.
type storeHarness struct {
	*harness
	clusters []Cluster
	pins     map[string]string // by cluster id
	anchor   string            // PEM, of the first cluster
	proxies  *memoryProxies
}

const (
	clusterA, clusterB = "cluster-aaaaaaaaaaa", "cluster-bbbbbbbbbbb"
	testSecret         = "0123456789012345678901234567890123456789012"
	testAccessKey      = "ABCDEFGHIJKLMNOPQRST"
)

func newStoreHarness(t *testing.T) *storeHarness {
	t.Helper()
	h := &storeHarness{harness: newHarness(t), pins: map[string]string{}, anchor: newCertificate(t), proxies: &memoryProxies{keys: map[string]ExternalKey{}}}
	der, err := certificateOf(h.anchor)
	if err != nil {
		t.Fatal(err)
	}
	for id, anchor := range map[string][]byte{clusterA: der, clusterB: nil} {
		uri := hsmtest.NewURI(t)
		h.pins[id] = os.Getenv(strings.TrimPrefix(uri.PINSource, "env:"))
		h.clusters = append(h.clusters, Cluster{ID: id, Token: hsm.Config{URI: uri}, TrustAnchor: anchor})
	}
	h.service = h.storeService()
	return h
}

// storeService makes a service that knows the clusters, as after a start of the process.
func (h *storeHarness) storeService() *Service {
	h.t.Helper()
	s := New(Config{Store: h.store, Domain: h.domain, Account: account, Region: testRegion, Serves: servesRegion, Now: h.clock.Now,
		Clusters: h.clusters, Proxies: h.proxies})
	h.t.Cleanup(func() { h.closeStores(s) })
	return s
}

func (h *storeHarness) closeStores(s *Service) {
	h.t.Helper()
	if err := s.CloseKeyStores(); err != nil {
		h.t.Errorf("close the custom key stores: %v", err)
	}
}

// newProcess ends the service's connections and makes a new service.
func (h *storeHarness) newProcess() {
	h.t.Helper()
	h.closeStores(h.service)
	h.service = h.storeService()
}

// follow does once what Run does all the time.
func (h *storeHarness) follow() {
	h.t.Helper()
	if err := h.service.ConnectKeyStores(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

func (h *storeHarness) createStore(cluster, name string) string {
	h.t.Helper()
	return h.must("CreateCustomKeyStore", h.newStore(cluster, name)).(*kms.CreateCustomKeyStoreResponse).CustomKeyStoreId
}

func (h *storeHarness) newStore(cluster, name string) in {
	return in{"CustomKeyStoreName": name, "CloudHsmClusterId": cluster, "KeyStorePassword": h.pins[cluster], "TrustAnchorCertificate": h.anchor}
}

func newProxyStore(name, path string) in {
	return in{"CustomKeyStoreName": name, "CustomKeyStoreType": "EXTERNAL_KEY_STORE", "XksProxyUriEndpoint": "https://proxy.example.com",
		"XksProxyUriPath": path, "XksProxyConnectivity": "PUBLIC_ENDPOINT",
		"XksProxyAuthenticationCredential": in{"AccessKeyId": testAccessKey, "RawSecretAccessKey": testSecret}}
}

func (h *storeHarness) createProxyStore(name string) string {
	h.t.Helper()
	return h.must("CreateCustomKeyStore", newProxyStore(name, "/"+name+"/kms/xks/v1")).(*kms.CreateCustomKeyStoreResponse).CustomKeyStoreId
}

func (h *storeHarness) connect(store string) {
	h.t.Helper()
	h.must("ConnectCustomKeyStore", in{"CustomKeyStoreId": store})
	h.follow()
	if got := h.describe(store); got.ConnectionState != kms.ConnectionStateTypeConnected || got.ConnectionErrorCode != "" {
		h.t.Fatalf("the store is %s %s", got.ConnectionState, got.ConnectionErrorCode)
	}
}

func (h *storeHarness) disconnect(store string) {
	h.t.Helper()
	h.must("DisconnectCustomKeyStore", in{"CustomKeyStoreId": store})
	h.follow()
}

func (h *storeHarness) describe(store string) kms.CustomKeyStoresListEntry {
	h.t.Helper()
	out := h.must("DescribeCustomKeyStores", in{"CustomKeyStoreId": store}).(*kms.DescribeCustomKeyStoresResponse)
	if len(out.CustomKeyStores) != 1 {
		h.t.Fatalf("%d stores of one id", len(out.CustomKeyStores))
	}
	return out.CustomKeyStores[0]
}

func (h *storeHarness) wantState(store string, state kms.ConnectionStateType, code kms.ConnectionErrorCodeType) {
	h.t.Helper()
	if got := h.describe(store); got.ConnectionState != state || got.ConnectionErrorCode != code {
		h.t.Errorf("the store is %s %q, want %s %q", got.ConnectionState, got.ConnectionErrorCode, state, code)
	}
}

func (h *storeHarness) storeKey(store string) *kms.KeyMetadata {
	h.t.Helper()
	return h.createKey(in{"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": store})
}

func (h *storeHarness) externalKey(store, xksKey string) *kms.KeyMetadata {
	h.t.Helper()
	h.proxies.add(xksKey)
	return h.createKey(in{"Origin": "EXTERNAL_KEY_STORE", "CustomKeyStoreId": store, "XksKeyId": xksKey})
}

func (h *storeHarness) encrypt(key string) []byte {
	h.t.Helper()
	return h.must("Encrypt", in{"KeyId": key, "Plaintext": []byte("text"), "EncryptionContext": in{"a": "b"}}).(*kms.EncryptResponse).CiphertextBlob
}

func (h *storeHarness) wantText(blob []byte) {
	h.t.Helper()
	out := h.must("Decrypt", in{"CiphertextBlob": blob, "EncryptionContext": in{"a": "b"}}).(*kms.DecryptResponse)
	if string(out.Plaintext) != "text" {
		h.t.Errorf("decrypts to %q", out.Plaintext)
	}
}

func newCertificate(t *testing.T) string {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "cluster"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// memoryProxies are proxies whose keys are in memory. Tests of package xks have real ones.
type memoryProxies struct {
	mu     sync.Mutex
	keys   map[string]ExternalKey
	fault  error // of every call
	calls  []ProxyCall
	opened []ProxyAddress
	ports  bool
	mangle func(*ExternalSealed)
}

func (p *memoryProxies) add(id string) {
	p.set(id, ExternalKey{Spec: "AES_256", Status: "ENABLED", Usage: []string{"DECRYPT", "ENCRYPT"}})
}

func (p *memoryProxies) set(id string, key ExternalKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys[id] = key
}

func (p *memoryProxies) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = err
}

func (p *memoryProxies) last() ProxyCall {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[len(p.calls)-1]
}

func (p *memoryProxies) called(call ProxyCall) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, call)
	return p.fault
}

func (p *memoryProxies) AllowPorts() bool { return p.ports }

func (p *memoryProxies) Open(a ProxyAddress) (ExternalProxy, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opened = append(p.opened, a)
	return memoryProxy{p}, nil
}

type memoryProxy struct{ *memoryProxies }

func (p memoryProxy) Close() {}

func (p memoryProxy) Health(_ context.Context, call ProxyCall) error { return p.called(call) }

func (p memoryProxy) Describe(_ context.Context, call ProxyCall, id string) (ExternalKey, error) {
	if err := p.called(call); err != nil {
		return ExternalKey{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	key, ok := p.keys[id]
	if !ok {
		return key, &ProxyError{Fault: "KeyNotFoundException"}
	}
	return key, nil
}

func (p memoryProxy) gcm(id string) cipher.AEAD {
	key := [32]byte{}
	copy(key[:], id)
	block, _ := aes.NewCipher(key[:])
	gcm, _ := cipher.NewGCMWithNonceSize(block, 16)
	return gcm
}

func (p memoryProxy) Encrypt(_ context.Context, call ProxyCall, id string, aad, plaintext []byte) (ExternalSealed, error) {
	if err := p.called(call); err != nil {
		return ExternalSealed{}, err
	}
	iv := make([]byte, 16)
	_, _ = rand.Read(iv)
	all := p.gcm(id).Seal(nil, iv, plaintext, aad)
	sealed := ExternalSealed{Ciphertext: all[:len(plaintext)], Tag: all[len(plaintext):], IV: iv, Metadata: []byte("v=1")}
	if p.mangle != nil {
		p.mangle(&sealed)
	}
	return sealed, nil
}

func (p memoryProxy) Decrypt(_ context.Context, call ProxyCall, id string, aad []byte, s ExternalSealed) ([]byte, error) {
	if err := p.called(call); err != nil {
		return nil, err
	}
	if string(s.Metadata) != "v=1" || len(s.IV) != 16 {
		return nil, &ProxyError{Fault: "InvalidCiphertextException"}
	}
	plaintext, err := p.gcm(id).Open(nil, s.IV, slices.Concat(s.Ciphertext, s.Tag), aad)
	if err != nil {
		return nil, &ProxyError{Fault: "InvalidCiphertextException", Cause: err}
	}
	return plaintext, nil
}

func TestCreateCustomKeyStore(t *testing.T) {
	h := newStoreHarness(t)
	first := h.createStore(clusterA, "first")
	if len(first) != 21 || !strings.HasPrefix(first, "cks-") {
		t.Errorf("the id is %q", first)
	}
	if _, err := hex.DecodeString(first[4:] + "0"); err != nil {
		t.Errorf("the id is %q", first)
	}
	external := h.createProxyStore("proxy")
	inVPC := newProxyStore("vpc", "/vpc/kms/xks/v1")
	inVPC["XksProxyUriEndpoint"], inVPC["XksProxyConnectivity"] = "https://vpc.example.com", "VPC_ENDPOINT_SERVICE"
	inVPC["XksProxyVpcEndpointServiceName"] = "com.amazonaws.vpce.us-east-1.vpce-svc-example"
	h.must("CreateCustomKeyStore", inVPC)
	with := func(base in, changes in) in {
		for name, value := range changes {
			if value == nil {
				delete(base, name)
			} else {
				base[name] = value
			}
		}
		return base
	}
	cloud := func(changes in) in { return with(h.newStore(clusterB, "second"), changes) }
	proxy := func(changes in) in { return with(newProxyStore("second", "/second/kms/xks/v1"), changes) }
	for name, c := range map[string]struct {
		in   in
		code kms.ErrorCode
		text string
	}{
		"cluster in use":      {h.newStore(clusterA, "second"), kms.CloudHsmClusterInUseException, "The AWS CloudHSM cluster cluster-aaaaaaaaaaa is already associated with a custom key store."},
		"name in use":         {h.newStore(clusterB, "first"), kms.CustomKeyStoreNameInUseException, "The custom key store name first is already in use."},
		"no such cluster":     {cloud(in{"CloudHsmClusterId": "cluster-ccccccccccc"}), kms.CloudHsmClusterNotFoundException, "The AWS CloudHSM cluster cluster-ccccccccccc does not exist."},
		"no certificate":      {cloud(in{"TrustAnchorCertificate": "a certificate"}), kms.IncorrectTrustAnchorException, "The trust anchor certificate is not a PEM certificate."},
		"no password":         {cloud(in{"KeyStorePassword": nil}), kms.ValidationException, "KeyStorePassword must be specified for a custom key store of the type AWS_CLOUDHSM."},
		"short password":      {cloud(in{"KeyStorePassword": "secret"}), kms.ValidationException, "1 validation error detected: Value at 'keyStorePassword' failed to satisfy constraint: Member must have length greater than or equal to 7"},
		"long password":       {cloud(in{"KeyStorePassword": strings.Repeat("x", 33)}), kms.ValidationException, "1 validation error detected: Value at 'keyStorePassword' failed to satisfy constraint: Member must have length less than or equal to 32"},
		"a proxy's parameter": {cloud(in{"XksProxyUriPath": "/kms/xks/v1"}), kms.ValidationException, "XksProxyUriPath cannot be specified for a custom key store of the type AWS_CLOUDHSM."},
		"a cluster's":         {proxy(in{"CloudHsmClusterId": clusterB}), kms.ValidationException, "CloudHsmClusterId cannot be specified for a custom key store of the type EXTERNAL_KEY_STORE."},
		"no credential":       {proxy(in{"XksProxyAuthenticationCredential": nil}), kms.ValidationException, "XksProxyAuthenticationCredential must be specified for a custom key store of the type EXTERNAL_KEY_STORE."},
		"a port":              {proxy(in{"XksProxyUriEndpoint": "https://h.example:8443"}), kms.ValidationException, "1 validation error detected: Value 'https://h.example:8443' at 'xksProxyUriEndpoint' failed to satisfy constraint: Member must satisfy regular expression pattern: ^https://[a-zA-Z0-9.-]+$"},
		"plain HTTP":          {proxy(in{"XksProxyUriEndpoint": "http://h.example"}), kms.ValidationException, "1 validation error detected: Value 'http://h.example' at 'xksProxyUriEndpoint' failed to satisfy constraint: Member must satisfy regular expression pattern: ^https://[a-zA-Z0-9.-]+$"},
		"URI in use":          {proxy(in{"XksProxyUriPath": "/proxy/kms/xks/v1"}), kms.XksProxyUriInUseException, "The external key store proxy URI endpoint and path https://proxy.example.com/proxy/kms/xks/v1 are already in use by another external key store."},
		"endpoint of a VPC":   {proxy(in{"XksProxyUriEndpoint": "https://VPC.example.com"}), kms.XksProxyUriEndpointInUseException, "The external key store proxy URI endpoint https://VPC.example.com is already in use by another external key store."},
		"VPC service in use": {proxy(in{"XksProxyUriEndpoint": "https://vpc2.example.com", "XksProxyConnectivity": "VPC_ENDPOINT_SERVICE", "XksProxyVpcEndpointServiceName": "com.amazonaws.vpce.us-east-1.vpce-svc-example"}),
			kms.XksProxyVpcEndpointServiceInUseException, "The VPC endpoint service com.amazonaws.vpce.us-east-1.vpce-svc-example is already in use by another external key store."},
		"no VPC service":     {proxy(in{"XksProxyConnectivity": "VPC_ENDPOINT_SERVICE"}), kms.ValidationException, "XksProxyVpcEndpointServiceName is required when XksProxyConnectivity is VPC_ENDPOINT_SERVICE."},
		"public VPC service": {proxy(in{"XksProxyVpcEndpointServiceName": "com.amazonaws.vpce.us-east-1.vpce-svc-example"}), kms.ValidationException, "XksProxyVpcEndpointServiceName and XksProxyVpcEndpointServiceOwner are valid only when XksProxyConnectivity is VPC_ENDPOINT_SERVICE."},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := h.invoke("CreateCustomKeyStore", c.in)
			wantError(t, err, c.code, c.text)
		})
	}
	h.proxies.ports = true
	h.must("CreateCustomKeyStore", proxy(in{"XksProxyUriEndpoint": "https://h.example:8443", "CustomKeyStoreName": "port"}))

	t.Run("wrong trust anchor", func(t *testing.T) {
		h.must("DeleteCustomKeyStore", in{"CustomKeyStoreId": first})
		_, err := h.invoke("CreateCustomKeyStore", with(h.newStore(clusterA, "again"), in{"TrustAnchorCertificate": newCertificate(t)}))
		wantError(t, err, kms.IncorrectTrustAnchorException, "The trust anchor certificate is not that of the AWS CloudHSM cluster cluster-aaaaaaaaaaa.")
		h.must("CreateCustomKeyStore", with(h.newStore(clusterA, "again"), in{"TrustAnchorCertificate": "The anchor:\n" + strings.ReplaceAll(h.anchor, "\n", "\r\n") + "\n"}))
	})
	t.Run("inactive", func(t *testing.T) {
		h.service.clusters[slices.IndexFunc(h.service.clusters, func(c Cluster) bool { return c.ID == clusterB })].Token.URI.Token = "no such token"
		_, err := h.invoke("CreateCustomKeyStore", cloud(nil))
		wantError(t, err, kms.CloudHsmClusterNotActiveException, "The AWS CloudHSM cluster cluster-bbbbbbbbbbb is not active.")
	})
	t.Run("ten", func(t *testing.T) {
		for i := len(h.must("DescribeCustomKeyStores", in{}).(*kms.DescribeCustomKeyStoresResponse).CustomKeyStores); i < maxKeyStores; i++ {
			h.createProxyStore("more" + string(rune('a'+i)))
		}
		_, err := h.invoke("CreateCustomKeyStore", proxy(nil))
		wantError(t, err, kms.LimitExceededException, "You have reached the limit of 10 custom key stores in this account and Region.")
		if _, err := h.invokeAs(h.call(stranger), "CreateCustomKeyStore", proxy(nil)); err != nil {
			t.Errorf("another account's first: %v", err)
		}
		h.must("UpdateCustomKeyStore", in{"CustomKeyStoreId": external, "NewCustomKeyStoreName": "renamed"})
	})
	t.Run("other accounts", func(t *testing.T) {
		for op, request := range map[string]in{
			"DescribeCustomKeyStores": {}, "ConnectCustomKeyStore": {}, "DisconnectCustomKeyStore": {}, "DeleteCustomKeyStore": {}, "UpdateCustomKeyStore": {},
			"GenerateRandom": {"NumberOfBytes": 8}, "CreateKey": {"Origin": "EXTERNAL_KEY_STORE", "XksKeyId": "k"},
		} {
			request["CustomKeyStoreId"] = external
			_, err := h.invokeAs(h.call(stranger), op, request)
			wantError(t, err, kms.CustomKeyStoreNotFoundException, "The custom key store "+external+" does not exist.")
		}
	})
}

func TestDescribeCustomKeyStores(t *testing.T) {
	h := newStoreHarness(t)
	cloud, external := h.createStore(clusterA, "cloud"), h.createProxyStore("proxy")
	got := h.describe(cloud)
	want := kms.CustomKeyStoresListEntry{CustomKeyStoreId: cloud, CustomKeyStoreName: "cloud", CloudHsmClusterId: clusterA, TrustAnchorCertificate: h.anchor,
		ConnectionState: "DISCONNECTED", CreationDate: kms.TimestampOf(h.clock.Now()), CustomKeyStoreType: "AWS_CLOUDHSM"}
	if got != want {
		t.Errorf("got %#v, want %#v", []any{got.CustomKeyStoreId, got.ConnectionState}, []any{want.CustomKeyStoreId, want.ConnectionState})
	}
	x := h.describe(external).XksProxyConfiguration
	if *x != (kms.XksProxyConfigurationType{Connectivity: "PUBLIC_ENDPOINT", AccessKeyId: testAccessKey, UriEndpoint: "https://proxy.example.com", UriPath: "/proxy/kms/xks/v1"}) {
		t.Error("the proxy is described as another")
	}
	byName := h.must("DescribeCustomKeyStores", in{"CustomKeyStoreName": "proxy"}).(*kms.DescribeCustomKeyStoresResponse)
	if len(byName.CustomKeyStores) != 1 || byName.CustomKeyStores[0].CustomKeyStoreId != external {
		t.Error("not found by name")
	}
	var all []string
	for marker, pages := "", 0; ; pages++ {
		out := h.must("DescribeCustomKeyStores", in{"Limit": 1, "Marker": nilIfEmpty(marker)}).(*kms.DescribeCustomKeyStoresResponse)
		for _, s := range out.CustomKeyStores {
			all = append(all, s.CustomKeyStoreId)
		}
		if marker = out.NextMarker; !out.Truncated {
			break
		}
		if marker == "" || pages > 5 {
			t.Fatal("a truncated page without a marker")
		}
	}
	ids := []string{cloud, external}
	slices.Sort(ids)
	if !slices.Equal(all, ids) {
		t.Errorf("pages of %v, want %v", all, ids)
	}
	_, err := h.invoke("DescribeCustomKeyStores", in{"CustomKeyStoreName": "none"})
	wantError(t, err, kms.CustomKeyStoreNotFoundException, "The custom key store none does not exist.")
	_, err = h.invoke("DescribeCustomKeyStores", in{"CustomKeyStoreName": "proxy", "CustomKeyStoreId": external})
	wantError(t, err, kms.ValidationException, "You cannot specify CustomKeyStoreId and CustomKeyStoreName in the same request.")
	_, err = h.invoke("DescribeCustomKeyStores", in{"Marker": "x"})
	wantError(t, err, kms.InvalidMarkerException, "The marker is not valid.")
}

func nilIfEmpty(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// TestConnectionStates takes a store through every state that a record can have.
func TestConnectionStates(t *testing.T) {
	h := newStoreHarness(t)
	store := h.createProxyStore("proxy")
	id := keyStoreID(h.call(account), store)
	const ok = ""
	states := []kms.ConnectionStateType{"DISCONNECTED", "CONNECTING", "CONNECTED", "FAILED"}
	for _, c := range []struct {
		op      string
		in      in
		refused map[kms.ConnectionStateType]bool
		after   map[kms.ConnectionStateType]kms.ConnectionStateType
	}{
		{"ConnectCustomKeyStore", in{}, map[kms.ConnectionStateType]bool{"FAILED": true},
			map[kms.ConnectionStateType]kms.ConnectionStateType{"DISCONNECTED": "CONNECTING"}},
		{"DisconnectCustomKeyStore", in{}, map[kms.ConnectionStateType]bool{"DISCONNECTED": true},
			map[kms.ConnectionStateType]kms.ConnectionStateType{"CONNECTING": "DISCONNECTED", "CONNECTED": "DISCONNECTED", "FAILED": "DISCONNECTED"}},
		{"UpdateCustomKeyStore", in{"XksProxyUriEndpoint": "https://new.example.com"}, map[kms.ConnectionStateType]bool{"CONNECTING": true, "CONNECTED": true, "FAILED": true}, nil},
		{"UpdateCustomKeyStore", in{"XksProxyUriPath": "/new/kms/xks/v1"}, nil, nil},
		{"UpdateCustomKeyStore", in{"NewCustomKeyStoreName": "new"}, nil, nil},
		{"CreateKey", in{"Origin": "EXTERNAL_KEY_STORE", "XksKeyId": "k"}, map[kms.ConnectionStateType]bool{"DISCONNECTED": true, "CONNECTING": true, "FAILED": true}, nil},
		{"DeleteCustomKeyStore", in{}, map[kms.ConnectionStateType]bool{"CONNECTING": true, "CONNECTED": true, "FAILED": true}, nil},
	} {
		for _, state := range states {
			t.Run(c.op+" "+string(state), func(t *testing.T) {
				err := h.store.Update(t.Context(), func(tx *keystore.Tx) error {
					r := &keystore.CustomKeyStoreRecord{Partition: id.Partition, Account: id.Account, Region: id.Region, ID: id.ID, Name: "proxy",
						Type: "EXTERNAL_KEY_STORE", Created: h.clock.Now(), State: state, Generation: 1,
						External: &keystore.ExternalRecord{Connectivity: "PUBLIC_ENDPOINT", Endpoint: "https://proxy.example.com", Path: "/kms/xks/v1", AccessKeyID: testAccessKey}}
					if state == "FAILED" {
						r.ErrorCode = "INTERNAL_ERROR"
					}
					var err error
					r.External.SealedSecret, err = h.domain.Seal(t.Context(), secretPurpose(id.ID), []byte(testSecret))
					if err != nil {
						return err
					}
					return tx.PutCustomKeyStore(r)
				})
				if err != nil {
					t.Fatal(err)
				}
				h.proxies.add("k")
				request := in{"CustomKeyStoreId": store}
				for name, value := range c.in {
					request[name] = value
				}
				out, err := h.invoke(c.op, request)
				if c.refused[state] {
					wantError(t, err, kms.CustomKeyStoreInvalidStateException, "The connection state of the custom key store "+store+" is "+string(state)+", which is not valid for "+c.op+".")
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if made, ok := out.(*kms.CreateKeyResponse); ok {
					h.erase(made.KeyMetadata.KeyId)
				}
				if c.op == "DeleteCustomKeyStore" {
					return
				}
				now := h.describe(store)
				want := state
				if next, moves := c.after[state]; moves {
					want = next
				}
				if now.ConnectionState != want || (now.ConnectionErrorCode != ok) != (want == "FAILED") {
					t.Errorf("the state is %s %q, want %s", now.ConnectionState, now.ConnectionErrorCode, want)
				}
			})
		}
	}
}

// erase schedules a key's deletion and lets the time pass.
func (h *storeHarness) erase(key string) {
	h.t.Helper()
	h.must("ScheduleKeyDeletion", in{"KeyId": key, "PendingWindowInDays": 7})
	if _, err := h.service.RunDue(h.t.Context(), h.clock.Advance(7*24*time.Hour+time.Second)); err != nil {
		h.t.Fatal(err)
	}
}

func TestProxyFaultsAreAllThere(t *testing.T) {
	for _, name := range []ProxyFault{"ValidationException", "InvalidStateException", "InvalidCiphertextException", "InvalidKeyUsageException",
		"AuthenticationFailedException", "AccessDeniedException", "KeyNotFoundException", "InvalidUriPathException", "ThrottlingException",
		"UnsupportedOperationException", "DependencyTimeoutException", "InternalException", ProxyTimeout, ProxyTLS, ProxyUnreachable, ProxyForbidden, ProxyMalformed, ProxyUnhealthy} {
		if row, ok := proxyFaults[name]; !ok || row.text == "" || row.management == "" || row.createKey == "" || row.connection == "" {
			t.Errorf("%s has no complete row", name)
		}
	}
	create, _ := kms.OperationByName("CreateCustomKeyStore")
	update, _ := kms.OperationByName("UpdateCustomKeyStore")
	key, _ := kms.OperationByName("CreateKey")
	for name, row := range proxyFaults {
		if !slices.Contains(create.Errors, row.management) || !slices.Contains(update.Errors, row.management) || !slices.Contains(key.Errors, row.createKey) {
			t.Errorf("%s: the API does not declare %s or %s", name, row.management, row.createKey)
		}
	}
	if _, ok := faultOf(errors.New("another")); ok {
		t.Error("an error of no proxy has a row")
	}
}
