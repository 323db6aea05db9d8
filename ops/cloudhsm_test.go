package ops

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

func TestCloudHSMKey(t *testing.T) {
	h := newStoreHarness(t)
	store := h.createStore(clusterA, "store")
	_, err := h.invoke("CreateKey", in{"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": store})
	wantError(t, err, kms.CustomKeyStoreInvalidStateException, "The connection state of the custom key store "+store+" is DISCONNECTED, which is not valid for CreateKey.")
	_, err = h.invoke("GenerateRandom", in{"NumberOfBytes": 32, "CustomKeyStoreId": store})
	wantError(t, err, kms.CustomKeyStoreInvalidStateException, "The connection state of the custom key store "+store+" is DISCONNECTED, which is not valid for GenerateRandom.")
	h.connect(store)

	key := h.storeKey(store)
	if key.CustomKeyStoreId != store || key.CloudHsmClusterId != clusterA || key.Origin != "AWS_CLOUDHSM" || !key.Enabled || key.KeyState != "Enabled" ||
		key.CurrentKeyMaterialId != "" || key.XksKeyConfiguration != nil || len(key.EncryptionAlgorithms) != 1 {
		t.Errorf("the key is %+v", key)
	}
	blob := h.encrypt(key.KeyId)
	h.wantText(blob)
	if hsmtest.Has(hsmtest.Derivation) && (len(blob) != 22+15+12+4+16 || blob[1] != 1<<1) {
		t.Errorf("a blob of %d bytes with flags %x: not the usual one of the scheme ecb", len(blob), blob[1])
	}
	data := h.must("GenerateDataKey", in{"KeyId": key.Arn, "NumberOfBytes": 64}).(*kms.GenerateDataKeyResponse)
	if out := h.must("Decrypt", in{"CiphertextBlob": data.CiphertextBlob}).(*kms.DecryptResponse); string(out.Plaintext) != string(data.Plaintext) {
		t.Error("a data key decrypts to another")
	}
	if out := h.must("GenerateRandom", in{"NumberOfBytes": 32, "CustomKeyStoreId": store}).(*kms.GenerateRandomResponse); len(out.Plaintext) != 32 {
		t.Error("not 32 random bytes")
	}
	// To and from a key of the domain.
	mine := h.createKey(nil)
	there := h.must("ReEncrypt", in{"CiphertextBlob": blob, "DestinationKeyId": mine.KeyId, "SourceEncryptionContext": in{"a": "b"}, "DestinationEncryptionContext": in{"a": "b"}}).(*kms.ReEncryptResponse)
	h.wantText(there.CiphertextBlob)
	back := h.must("ReEncrypt", in{"CiphertextBlob": there.CiphertextBlob, "DestinationKeyId": key.KeyId, "SourceEncryptionContext": in{"a": "b"}, "DestinationEncryptionContext": in{"a": "b"}}).(*kms.ReEncryptResponse)
	h.wantText(back.CiphertextBlob)

	_, err = h.invoke("Decrypt", in{"CiphertextBlob": blob, "EncryptionContext": in{"a": "c"}})
	wantError(t, err, kms.InvalidCiphertextException, "")
	_, err = h.invoke("Encrypt", in{"KeyId": key.KeyId, "Plaintext": []byte("x"), "DryRun": true})
	wantError(t, err, kms.DryRunOperationException, "The request would have succeeded, but the DryRun option is set.")
	_, err = h.invoke("DeleteCustomKeyStore", in{"CustomKeyStoreId": store})
	wantError(t, err, kms.CustomKeyStoreInvalidStateException, "The connection state of the custom key store "+store+" is CONNECTED, which is not valid for DeleteCustomKeyStore.")
}

// TestStoreKeysCannot is what AWS does not support for keys in custom key stores.
func TestStoreKeysCannot(t *testing.T) {
	h := newStoreHarness(t)
	cloud, external := h.createStore(clusterA, "cloud"), h.createProxyStore("proxy")
	h.connect(cloud)
	h.connect(external)
	h.proxies.add("other")
	for _, key := range []*kms.KeyMetadata{h.storeKey(cloud), h.externalKey(external, "k")} {
		origin := key.Arn + " origin is " + string(key.Origin) + " which is not valid for this operation."
		for op, c := range map[string]struct {
			in   in
			code kms.ErrorCode
			text string
		}{
			"EnableKeyRotation":                   {in{}, kms.UnsupportedOperationException, origin},
			"DisableKeyRotation":                  {in{}, kms.UnsupportedOperationException, origin},
			"GetKeyRotationStatus":                {in{}, kms.UnsupportedOperationException, origin},
			"ListKeyRotations":                    {in{}, kms.UnsupportedOperationException, origin},
			"RotateKeyOnDemand":                   {in{}, kms.UnsupportedOperationException, origin},
			"GenerateDataKeyPair":                 {in{"KeyPairSpec": "ECC_NIST_P256"}, kms.UnsupportedOperationException, origin},
			"GenerateDataKeyPairWithoutPlaintext": {in{"KeyPairSpec": "ECC_NIST_P256"}, kms.UnsupportedOperationException, origin},
			"GetParametersForImport":              {in{"WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"}, kms.UnsupportedOperationException, origin},
			"DeleteImportedKeyMaterial":           {in{}, kms.UnsupportedOperationException, origin},
			"ReplicateKey":                        {in{"ReplicaRegion": "eu-west-1"}, kms.UnsupportedOperationException, key.Arn + " is not a multi-region primary key."},
		} {
			request := in{"KeyId": key.KeyId}
			for name, value := range c.in {
				request[name] = value
			}
			_, err := h.invoke(op, request)
			t.Run(op, func(t *testing.T) { wantError(t, err, c.code, c.text) })
		}
	}
	for name, c := range map[string]struct {
		in   in
		code kms.ErrorCode
		text string
	}{
		"asymmetric":           {in{"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": cloud, "KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY"}, kms.UnsupportedOperationException, "KeySpec RSA_2048 is not supported in a custom key store, which holds symmetric encryption keys only."},
		"HMAC":                 {in{"Origin": "EXTERNAL_KEY_STORE", "CustomKeyStoreId": external, "XksKeyId": "other", "KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}, kms.UnsupportedOperationException, "KeySpec HMAC_256 is not supported in a custom key store, which holds symmetric encryption keys only."},
		"multi-Region":         {in{"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": cloud, "MultiRegion": true}, kms.UnsupportedOperationException, "You cannot create a multi-Region key in a custom key store."},
		"no store":             {in{"Origin": "AWS_CLOUDHSM"}, kms.ValidationException, "CustomKeyStoreId is required when Origin is AWS_CLOUDHSM."},
		"no origin":            {in{"CustomKeyStoreId": cloud}, kms.ValidationException, "CustomKeyStoreId is valid only when Origin is AWS_CLOUDHSM or EXTERNAL_KEY_STORE."},
		"imported":             {in{"CustomKeyStoreId": cloud, "Origin": "EXTERNAL"}, kms.ValidationException, "CustomKeyStoreId is valid only when Origin is AWS_CLOUDHSM or EXTERNAL_KEY_STORE."},
		"external key":         {in{"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": cloud, "XksKeyId": "other"}, kms.ValidationException, "XksKeyId is valid only for keys in an external key store."},
		"no external key":      {in{"Origin": "EXTERNAL_KEY_STORE", "CustomKeyStoreId": external}, kms.ValidationException, "XksKeyId is required when Origin is EXTERNAL_KEY_STORE."},
		"the other type":       {in{"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": external}, kms.ValidationException, "Origin AWS_CLOUDHSM is not valid for the custom key store " + external + ", whose type is EXTERNAL_KEY_STORE."},
		"no such store":        {in{"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": "cks-none"}, kms.CustomKeyStoreNotFoundException, "The custom key store cks-none does not exist."},
		"an external key only": {in{"XksKeyId": "other"}, kms.ValidationException, "XksKeyId is valid only for keys in an external key store."},
	} {
		_, err := h.invoke("CreateKey", c.in)
		t.Run(name, func(t *testing.T) { wantError(t, err, c.code, c.text) })
	}
	_, err := h.invoke("GenerateRandom", in{"NumberOfBytes": 32, "CustomKeyStoreId": external})
	wantError(t, err, kms.UnsupportedOperationException, "GenerateRandom is not supported by custom key stores of the type EXTERNAL_KEY_STORE.")
}

// TestUnavailable follows a key through the disconnection of its store.
func TestUnavailable(t *testing.T) {
	h := newStoreHarness(t)
	cloud, external := h.createStore(clusterA, "cloud"), h.createProxyStore("proxy")
	for store, make := range map[string]func() *kms.KeyMetadata{
		cloud:    func() *kms.KeyMetadata { return h.storeKey(cloud) },
		external: func() *kms.KeyMetadata { return h.externalKey(external, "k") },
	} {
		h.connect(store)
		key := make()
		state := func() kms.KeyState {
			t.Helper()
			m := h.must("DescribeKey", in{"KeyId": key.KeyId}).(*kms.DescribeKeyResponse).KeyMetadata
			if m.Enabled != (m.KeyState == kms.KeyStateEnabled) {
				t.Errorf("%s and enabled: %t", m.KeyState, m.Enabled)
			}
			return m.KeyState
		}
		want := func(s kms.KeyState) {
			t.Helper()
			if got := state(); got != s {
				t.Errorf("the key is %s, want %s", got, s)
			}
		}
		blob := h.encrypt(key.KeyId)
		h.disconnect(store)
		want("Unavailable")
		for op, request := range map[string]in{
			"Encrypt":                         {"KeyId": key.KeyId, "Plaintext": []byte("x")},
			"Decrypt":                         {"CiphertextBlob": blob},
			"ReEncrypt":                       {"CiphertextBlob": blob, "DestinationKeyId": key.KeyId},
			"GenerateDataKey":                 {"KeyId": key.KeyId, "NumberOfBytes": 32},
			"GenerateDataKeyWithoutPlaintext": {"KeyId": key.KeyId, "NumberOfBytes": 32},
		} {
			_, err := h.invoke(op, request)
			wantError(t, err, kms.KMSInvalidStateException, key.Arn+" is unavailable.")
		}
		_, err := h.invoke("GenerateDataKeyPair", in{"KeyId": key.KeyId, "KeyPairSpec": "ECC_NIST_P256"})
		wantError(t, err, kms.UnsupportedOperationException, key.Arn+" origin is "+string(key.Origin)+" which is not valid for this operation.")
		_, err = h.invoke("CancelKeyDeletion", in{"KeyId": key.KeyId})
		wantError(t, err, kms.KMSInvalidStateException, key.Arn+" is not pending deletion.")
		for op, request := range map[string]in{
			"TagResource": {"Tags": tag("a=b")}, "UpdateKeyDescription": {"Description": "d"}, "ListResourceTags": {}, "GetKeyPolicy": {},
			"CreateGrant": {"GranteePrincipal": "arn:aws:iam::" + account + ":root", "Operations": []string{"Encrypt"}},
			"DisableKey":  {}, // takes effect when the key is available again
		} {
			request["KeyId"] = key.KeyId
			h.must(op, request)
		}
		want("Unavailable")
		h.must("CreateGrant", in{"KeyId": key.KeyId, "GranteePrincipal": "arn:aws:iam::" + account + ":root", "Operations": []string{"Decrypt"}})
		h.connect(store)
		want("Disabled")
		_, err = h.invoke("Encrypt", in{"KeyId": key.KeyId, "Plaintext": []byte("x")})
		wantError(t, err, kms.DisabledException, key.Arn+" is disabled.")
		h.disconnect(store)
		h.must("EnableKey", in{"KeyId": key.KeyId})
		want("Unavailable")
		h.must("ScheduleKeyDeletion", in{"KeyId": key.KeyId})
		want("PendingDeletion")
		h.must("CancelKeyDeletion", in{"KeyId": key.KeyId})
		want("Unavailable")
		h.connect(store)
		want("Disabled")
		h.must("EnableKey", in{"KeyId": key.KeyId})
		want("Enabled")
		h.wantText(blob)
	}
}

// TestStoreSurvivesRestart: a store that was connected is connected again by the next process.
func TestStoreSurvivesRestart(t *testing.T) {
	h := newStoreHarness(t)
	cloud, external := h.createStore(clusterA, "cloud"), h.createProxyStore("proxy")
	h.connect(cloud)
	h.connect(external)
	blobs := [][]byte{h.encrypt(h.storeKey(cloud).KeyId), h.encrypt(h.externalKey(external, "k").KeyId)}
	h.newProcess()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); h.service.Run(ctx) }()
	for _, blob := range blobs {
		h.wantText(blob) // the first request waits for the connection
	}
	cancel()
	<-done
	h.wantState(cloud, "CONNECTED", "")
	h.wantState(external, "CONNECTED", "")
}

// countingHandler counts the logins that are shown to tokens.
type countingHandler struct{ logins atomic.Int64 }

func (c *countingHandler) Enabled(context.Context, slog.Level) bool { return true }
func (c *countingHandler) WithAttrs([]slog.Attr) slog.Handler       { return c }
func (c *countingHandler) WithGroup(string) slog.Handler            { return c }
func (c *countingHandler) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "login" {
		c.logins.Add(1)
	}
	return nil
}

func TestWrongPasswordIsTriedOnce(t *testing.T) {
	h := newStoreHarness(t)
	logins := &countingHandler{}
	for i := range h.clusters {
		h.clusters[i].Token.Logger = slog.New(logins)
	}
	request := h.newStore(clusterA, "store")
	request["KeyStorePassword"] = "not the PIN"
	store := h.must("CreateCustomKeyStore", request).(*kms.CreateCustomKeyStoreResponse).CustomKeyStoreId
	connect := func() { h.must("ConnectCustomKeyStore", in{"CustomKeyStoreId": store}); h.follow() }
	want := func(n int64) {
		t.Helper()
		if got := logins.logins.Load(); got != n {
			t.Errorf("%d logins, want %d", got, n)
		}
	}
	connect()
	h.wantState(store, "FAILED", "INVALID_CREDENTIALS")
	want(1)
	_, err := h.invoke("ConnectCustomKeyStore", in{"CustomKeyStoreId": store})
	wantError(t, err, kms.CustomKeyStoreInvalidStateException, "The connection state of the custom key store "+store+" is FAILED, which is not valid for ConnectCustomKeyStore.")
	for range 3 { // not by asking again, nor by another process
		h.disconnect(store)
		h.wantState(store, "DISCONNECTED", "")
		h.newProcess()
		connect()
		h.wantState(store, "FAILED", "INVALID_CREDENTIALS")
	}
	want(1)
	h.disconnect(store)
	h.must("UpdateCustomKeyStore", in{"CustomKeyStoreId": store, "NewCustomKeyStoreName": "another name"})
	connect()
	h.wantState(store, "FAILED", "INVALID_CREDENTIALS")
	want(1)
	h.disconnect(store)
	h.must("UpdateCustomKeyStore", in{"CustomKeyStoreId": store, "KeyStorePassword": h.pins[clusterA]})
	h.connect(store)
	want(2)
	h.wantText(h.encrypt(h.storeKey(store).KeyId))
}

// TestLoginCutShort: a process that ended in the middle of the first login with a password may have
// used it up.
func TestLoginCutShort(t *testing.T) {
	h := newStoreHarness(t)
	store := h.createStore(clusterA, "store")
	h.must("ConnectCustomKeyStore", in{"CustomKeyStoreId": store})
	id := keyStoreID(h.call(account), store)
	record, err := h.store.CustomKeyStore(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	mine, err := h.service.claimLogin(t.Context(), record)
	if err != nil || !mine {
		t.Fatalf("the login is not ours: %v", err)
	}
	h.follow() // another node, which waits
	h.wantState(store, "CONNECTING", "")
	h.clock.Advance(tryingBound)
	h.follow()
	h.wantState(store, "FAILED", "INVALID_CREDENTIALS")
	h.disconnect(store)
	h.must("UpdateCustomKeyStore", in{"CustomKeyStoreId": store, "KeyStorePassword": h.pins[clusterA]})
	h.connect(store)
}

func TestConnectionCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want kms.ConnectionErrorCodeType
	}{
		{hsm.ErrPIN, "INVALID_CREDENTIALS"},
		{hsm.ErrPINLocked, "USER_LOCKED_OUT"},
		{hsm.ErrNoUser, "USER_NOT_FOUND"},
		{hsm.ErrLoggedIn, "USER_LOGGED_IN"},
		{hsm.ErrNotFound, "CLUSTER_NOT_FOUND"},
		{hsm.ErrWrongToken, "CLUSTER_NOT_FOUND"},
		{os.ErrNotExist, "CLUSTER_NOT_FOUND"},
		{hsm.ErrTokenDown, "NETWORK_ERRORS"},
		{hsm.ErrUnsupported, "INTERNAL_ERROR"},
		{errors.New("another"), "INTERNAL_ERROR"},
		{errRefused("USER_LOCKED_OUT"), "USER_LOCKED_OUT"},
		{&ProxyError{Fault: ProxyTLS}, "XKS_PROXY_INVALID_TLS_CONFIGURATION"},
		{&ProxyError{Fault: "no such name"}, "XKS_PROXY_INVALID_RESPONSE"},
	} {
		if got := connectionCode(c.err); got != c.want {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
}

// TestConnectFails has what keeps a store from being connected, without a password that is wrong.
func TestConnectFails(t *testing.T) {
	h := newStoreHarness(t)
	store := h.createStore(clusterA, "store")
	cluster := &h.service.clusters[0]
	if cluster.ID != clusterA {
		cluster = &h.service.clusters[1]
	}
	good := cluster.Token.URI
	for name, c := range map[string]struct {
		change func(*hsm.URI)
		want   kms.ConnectionErrorCodeType
	}{
		"no token":   {func(u *hsm.URI) { u.Token = "no such token" }, "CLUSTER_NOT_FOUND"},
		"no library": {func(u *hsm.URI) { u.ModulePath = "/no/such/library.so" }, "CLUSTER_NOT_FOUND"},
		"no cluster": {func(*hsm.URI) { cluster.ID = "cluster-zzzzzzzzzzz" }, "CLUSTER_NOT_FOUND"},
	} {
		t.Run(name, func(t *testing.T) {
			c.change(&cluster.Token.URI)
			h.must("ConnectCustomKeyStore", in{"CustomKeyStoreId": store})
			h.follow()
			h.wantState(store, "FAILED", c.want)
			cluster.Token.URI, cluster.ID = good, clusterA
			h.disconnect(store)
		})
	}
	// Somebody else in this process is logged in: the password would go unchecked.
	uri := good
	other := hsmtest.Open(t, hsm.Config{URI: uri})
	h.must("ConnectCustomKeyStore", in{"CustomKeyStoreId": store})
	h.follow()
	h.wantState(store, "FAILED", "USER_LOGGED_IN")
	h.disconnect(store)
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	h.connect(store) // none of this used the password up
}

func TestCloudHSMKeyIsDeleted(t *testing.T) {
	h := newStoreHarness(t)
	store := h.createStore(clusterA, "store")
	h.connect(store)
	gone, kept, late := h.storeKey(store), h.storeKey(store), h.storeKey(store)
	blob, keptBlob := h.encrypt(gone.KeyId), h.encrypt(kept.KeyId)
	objects := func() map[string]bool {
		t.Helper()
		labels := map[string]bool{}
		vault := h.service.connections.get(keyStoreID(h.call(account), store)).vault
		for _, k := range []*kms.KeyMetadata{gone, kept, late} {
			id, _, _ := kms.KeyIDBytes(k.KeyId)
			has, err := vault.Has(t.Context(), id[:])
			if err != nil {
				t.Fatal(err)
			}
			labels[k.KeyId] = has
		}
		return labels
	}
	if o := objects(); !o[gone.KeyId] || !o[kept.KeyId] {
		t.Fatal("the keys are no objects of the token")
	}
	h.erase(gone.KeyId)
	h.follow()
	if o := objects(); o[gone.KeyId] || !o[kept.KeyId] {
		t.Error("the deletion of a key did not delete its object, or another one's")
	}
	_, err := h.invoke("Decrypt", in{"CiphertextBlob": blob, "EncryptionContext": in{"a": "b"}})
	wantError(t, err, kms.AccessDeniedException, unknownBlob(rootARN, "Decrypt"))
	h.wantText(keptBlob)

	// While the store is disconnected the object stays, and goes afterwards.
	h.disconnect(store)
	h.erase(late.KeyId)
	h.connect(store)
	if o := objects(); o[late.KeyId] || !o[kept.KeyId] {
		t.Error("the object of a key that was deleted meanwhile is still there")
	}
	h.wantText(keptBlob)

	_, err = h.invoke("DeleteCustomKeyStore", in{"CustomKeyStoreId": store})
	if !errors.Is(err, kms.CustomKeyStoreInvalidStateException) {
		t.Errorf("deleting a connected store: %v", err)
	}
	h.disconnect(store)
	h.must("ScheduleKeyDeletion", in{"KeyId": kept.KeyId})
	_, err = h.invoke("DeleteCustomKeyStore", in{"CustomKeyStoreId": store})
	wantError(t, err, kms.CustomKeyStoreHasCMKsException, "The custom key store "+store+" contains KMS keys. Schedule their deletion and wait until they are deleted.")
	if _, err := h.service.RunDue(t.Context(), h.clock.Advance(31*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	h.must("DeleteCustomKeyStore", in{"CustomKeyStoreId": store})
	_, err = h.invoke("DescribeCustomKeyStores", in{"CustomKeyStoreId": store})
	wantError(t, err, kms.CustomKeyStoreNotFoundException, "The custom key store "+store+" does not exist.")
	h.follow()
	again := h.createStore(clusterA, "store")
	h.connect(again)
}

// TestObjectDeletedBehind deletes the object of a key with another login, as the HSM's own tools do.
func TestObjectDeletedBehind(t *testing.T) {
	h := newStoreHarness(t)
	store := h.createStore(clusterA, "store")
	h.connect(store)
	key, other := h.storeKey(store), h.storeKey(store)
	blob, otherBlob := h.encrypt(key.KeyId), h.encrypt(other.KeyId)
	record, err := h.store.Key(t.Context(), keystore.KeyID{Partition: "aws", Account: account, Region: testRegion, ID: key.KeyId})
	if err != nil {
		t.Fatal(err)
	}
	vault := h.service.connections.get(keyStoreID(h.call(account), store)).vault
	if err := vault.Destroy(t.Context(), &record.Materials[0].Material); err != nil {
		t.Fatal(err)
	}
	for op, request := range map[string]in{
		"Encrypt":         {"KeyId": key.KeyId, "Plaintext": []byte("x")},
		"Decrypt":         {"CiphertextBlob": blob, "EncryptionContext": in{"a": "b"}},
		"GenerateDataKey": {"KeyId": key.KeyId, "NumberOfBytes": 32},
	} {
		_, err := h.invoke(op, request)
		wantError(t, err, kms.KMSInvalidStateException, key.Arn+" is unavailable.")
	}
	h.wantText(otherBlob)
	h.erase(key.KeyId)
	h.follow()
	h.wantText(otherBlob)
}

// TestClusterVanishes takes the directory of a store's token away and brings it back, by a library
// of its own. Nobody asks for a connection: the store recovers by itself.
func TestClusterVanishes(t *testing.T) {
	hsmtest.Require(t, hsmtest.GoneStorage)
	h := newStoreHarness(t)
	for i := range h.clusters {
		h.clusters[i].Token.URI.ModulePath = copyOf(t, h.clusters[i].Token.URI.ModulePath)
	}
	h.service.clusters = h.clusters
	store := h.createStore(clusterA, "store")
	h.connect(store)
	key, mine := h.storeKey(store), h.createKey(nil)
	blob, mineBlob := h.encrypt(key.KeyId), h.encrypt(mine.KeyId)
	back := h.hideToken(clusterA)
	defer back()
	decrypt := func() error {
		_, err := h.invoke("Decrypt", in{"CiphertextBlob": blob, "EncryptionContext": in{"a": "b"}})
		return err
	}
	until(t, func() bool { return decrypt() != nil })
	wantError(t, decrypt(), kms.KMSInvalidStateException, "KMS cannot communicate with your CloudHSM cluster")
	_, err := h.invoke("GenerateRandom", in{"NumberOfBytes": 8, "CustomKeyStoreId": store})
	wantError(t, err, kms.CustomKeyStoreInvalidStateException, "KMS cannot communicate with your CloudHSM cluster")
	_, err = h.invoke("CreateKey", in{"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": store})
	wantError(t, err, kms.CustomKeyStoreInvalidStateException, "KMS cannot communicate with your CloudHSM cluster")
	h.wantText(mineBlob)
	h.wantState(store, "CONNECTED", "")
	back()
	until(t, func() bool { return decrypt() == nil })
	h.wantText(blob)

	// A process that starts while the token is away finds it when it is back.
	back = h.hideToken(clusterA)
	defer back()
	h.newProcess()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); h.service.Run(ctx) }()
	defer func() { cancel(); <-done }()
	wantError(t, decrypt(), kms.KMSInvalidStateException, "KMS cannot communicate with your CloudHSM cluster")
	h.wantText(mineBlob)
	back()
	until(t, func() bool { return decrypt() == nil })
}

// until waits for what has to come; the bound only ends a test that hangs.
func until(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come")
		}
	}
}

// hideToken moves the directory of a cluster's token away; the answer brings it back.
func (h *storeHarness) hideToken(cluster string) (back func()) {
	h.t.Helper()
	var label string
	for _, c := range h.clusters {
		if c.ID == cluster {
			label = c.Token.URI.Token
		}
	}
	dirs, err := filepath.Glob(filepath.Join(hsmtest.TokenDir(h.t), "*"))
	if err != nil {
		h.t.Fatal(err)
	}
	for _, dir := range dirs {
		text, err := os.ReadFile(filepath.Join(dir, "token.object"))
		if err != nil || !strings.Contains(string(text), label) {
			continue
		}
		away := filepath.Join(h.t.TempDir(), "token")
		if err := os.Rename(dir, away); err != nil {
			h.t.Fatal(err)
		}
		returned := false
		return func() {
			if returned {
				return
			}
			returned = true
			if err := os.Rename(away, dir); err != nil {
				h.t.Error(err)
			}
		}
	}
	h.t.Fatalf("no directory of token %q", label)
	return nil
}

func copyOf(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), filepath.Base(file))
	if err := os.WriteFile(to, text, 0o700); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestUpdateCloudHSM(t *testing.T) {
	h := newStoreHarness(t)
	store := h.createStore(clusterA, "store")
	h.connect(store)
	wrong := "The connection state of the custom key store " + store + " is CONNECTED, which is not valid for UpdateCustomKeyStore."
	for _, request := range []in{{"KeyStorePassword": "another one"}, {"CloudHsmClusterId": clusterB}} {
		request["CustomKeyStoreId"] = store
		_, err := h.invoke("UpdateCustomKeyStore", request)
		wantError(t, err, kms.CustomKeyStoreInvalidStateException, wrong)
	}
	h.must("UpdateCustomKeyStore", in{"CustomKeyStoreId": store, "NewCustomKeyStoreName": "renamed"})
	h.wantState(store, "CONNECTED", "")
	if got := h.describe(store).CustomKeyStoreName; got != "renamed" {
		t.Errorf("the name is %q", got)
	}
	h.disconnect(store)
	_, err := h.invoke("UpdateCustomKeyStore", in{"CustomKeyStoreId": store, "XksProxyUriPath": "/kms/xks/v1"})
	wantError(t, err, kms.ValidationException, "XksProxyUriPath cannot be specified for a custom key store of the type AWS_CLOUDHSM.")
	_, err = h.invoke("UpdateCustomKeyStore", in{"CustomKeyStoreId": store, "CloudHsmClusterId": "cluster-ccccccccccc"})
	wantError(t, err, kms.CloudHsmClusterNotFoundException, "The AWS CloudHSM cluster cluster-ccccccccccc does not exist.")
	other := h.createProxyStore("proxy")
	_, err = h.invoke("UpdateCustomKeyStore", in{"CustomKeyStoreId": other, "NewCustomKeyStoreName": "renamed"})
	wantError(t, err, kms.CustomKeyStoreNameInUseException, "The custom key store name renamed is already in use.")

	// The other cluster takes any trust anchor; with one of its own it is not related.
	for i := range h.service.clusters {
		if h.service.clusters[i].ID == clusterB {
			der, _ := certificateOf(newCertificate(t))
			h.service.clusters[i].TrustAnchor = der
			_, err := h.invoke("UpdateCustomKeyStore", in{"CustomKeyStoreId": store, "CloudHsmClusterId": clusterB})
			wantError(t, err, kms.CloudHsmClusterNotRelatedException, "The AWS CloudHSM cluster cluster-bbbbbbbbbbb has a different cluster certificate than the original cluster of the custom key store.")
			h.service.clusters[i].TrustAnchor = nil
		}
	}
	h.must("UpdateCustomKeyStore", in{"CustomKeyStoreId": store, "CloudHsmClusterId": clusterB, "KeyStorePassword": h.pins[clusterB]})
	if got := h.describe(store).CloudHsmClusterId; got != clusterB {
		t.Errorf("the cluster is %s", got)
	}
	h.connect(store)
	h.createStore(clusterA, "the first cluster is free")
}
