package ops

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
)

func TestExternalKey(t *testing.T) {
	hsmtest.Require(t, hsmtest.Derivation) // it looks for the parts of a blob where the usual scheme has them
	h := newStoreHarness(t)
	store := h.createProxyStore("proxy")
	h.connect(store)
	call := h.call(account)
	key := h.externalKey(store, "external-1")
	if got := h.proxies.last(); got != (ProxyCall{Operation: "CreateKey", RequestID: "test", PrincipalARN: call.Caller.Principal.ARN}) {
		t.Errorf("the proxy was told %+v", got)
	}
	if key.CustomKeyStoreId != store || key.XksKeyConfiguration == nil || key.XksKeyConfiguration.Id != "external-1" || key.Origin != "EXTERNAL_KEY_STORE" ||
		!key.Enabled || key.CloudHsmClusterId != "" || key.CurrentKeyMaterialId != "" {
		t.Errorf("the key is %+v", key)
	}
	blob := h.encrypt(key.KeyId)
	if got := h.proxies.last(); got != (ProxyCall{Operation: "Encrypt", RequestID: "test", PrincipalARN: call.Caller.Principal.ARN, KeyARN: key.Arn}) {
		t.Errorf("the proxy was told %+v", got)
	}
	h.wantText(blob)
	if got := h.proxies.last().Operation; got != "Decrypt" {
		t.Errorf("the proxy was told %s", got)
	}
	if blob[1] != flagExternal|1<<shiftScheme || len(blob) > len("text")+120 {
		t.Errorf("a blob of %d bytes with flags %x", len(blob), blob[1])
	}
	data := h.must("GenerateDataKey", in{"KeyId": key.Arn, "KeySpec": "AES_256"}).(*kms.GenerateDataKeyResponse)
	if out := h.must("Decrypt", in{"CiphertextBlob": data.CiphertextBlob, "KeyId": key.KeyId}).(*kms.DecryptResponse); !bytes.Equal(out.Plaintext, data.Plaintext) {
		t.Error("a data key decrypts to another")
	}
	most := bytes.Repeat([]byte{7}, 4096)
	long := h.must("Encrypt", in{"KeyId": key.KeyId, "Plaintext": most}).(*kms.EncryptResponse).CiphertextBlob
	if out := h.must("Decrypt", in{"CiphertextBlob": long}).(*kms.DecryptResponse); !bytes.Equal(out.Plaintext, most) {
		t.Error("the longest plaintext comes back as another")
	}

	ciphertextText := proxyTextCiphertext
	_, err := h.invoke("Decrypt", in{"CiphertextBlob": blob, "EncryptionContext": in{"a": "c"}})
	wantError(t, err, kms.KMSInvalidStateException, ciphertextText)
	for name, offset := range map[string]int{"IV": 24, "tag": 24 + 16, "metadata": 24 + 32, "ciphertext": len(blob) - 1} {
		forged := bytes.Clone(blob)
		forged[offset] ^= 1
		_, err := h.invoke("Decrypt", in{"CiphertextBlob": forged, "EncryptionContext": in{"a": "b"}})
		t.Run(name, func(t *testing.T) { wantError(t, err, kms.KMSInvalidStateException, ciphertextText) })
	}
	for name, forged := range map[string][]byte{
		"cut":               blob[:30],
		"without the layer": append([]byte{blob[0], blob[1] &^ flagExternal}, blob[2:]...),
		"another ordinal":   slices.Concat(blob[:21], []byte{2}, blob[22:]),
	} {
		_, err := h.invoke("Decrypt", in{"CiphertextBlob": forged, "EncryptionContext": in{"a": "b"}})
		t.Run(name, func(t *testing.T) { wantError(t, err, kms.InvalidCiphertextException, "") })
	}
	mine := h.createKey(nil)
	h.wantText(h.must("ReEncrypt", in{"CiphertextBlob": blob, "DestinationKeyId": mine.KeyId, "SourceEncryptionContext": in{"a": "b"}, "DestinationEncryptionContext": in{"a": "b"}}).(*kms.ReEncryptResponse).CiphertextBlob)
	inner := h.encrypt(mine.KeyId)
	inner[1] |= flagExternal
	_, err = h.invoke("Decrypt", in{"CiphertextBlob": inner, "KeyId": mine.KeyId, "EncryptionContext": in{"a": "b"}})
	wantError(t, err, kms.InvalidCiphertextException, "")

	_, err = h.invoke("CreateKey", in{"Origin": "EXTERNAL_KEY_STORE", "CustomKeyStoreId": store, "XksKeyId": "external-1"})
	wantError(t, err, kms.XksKeyAlreadyInUseException, "The external key external-1 is already associated with a KMS key in the custom key store "+store+".")
	other := h.createProxyStore("other")
	h.connect(other)
	h.externalKey(other, "external-1") // another store may have it too
	h.erase(key.KeyId)
	h.externalKey(store, "external-1") // and a new key when the old one is gone
}

// TestDoubleEncryption: with the external key alone nothing is read, and with the domain alone nothing
// either.
func TestDoubleEncryption(t *testing.T) {
	h := newStoreHarness(t)
	store := h.createProxyStore("proxy")
	h.connect(store)
	key := h.externalKey(store, "k")
	blob := h.encrypt(key.KeyId)
	c, err := parseCiphertext(blob)
	if err != nil {
		t.Fatal(err)
	}
	context := map[string]string{"a": "b"}
	inner, err := (memoryProxy{h.proxies}).Decrypt(t.Context(), ProxyCall{}, "k", outerAAD(blob[:headerSize], context), c.outer)
	if err != nil {
		t.Fatalf("the external layer has other additional authenticated data: %v", err)
	}
	if bytes.Contains(inner, []byte("text")) {
		t.Error("the external key opens the plaintext")
	}
	if bytes.Contains(c.outer.Ciphertext, inner) {
		t.Error("the inner layer lies open")
	}
	// What the external key opens is not what the domain made.
	forged := bytes.Clone(inner)
	forged[len(forged)-1] ^= 1
	if c.outer, err = (memoryProxy{h.proxies}).Encrypt(t.Context(), ProxyCall{}, "k", outerAAD(blob[:headerSize], context), forged); err != nil {
		t.Fatal(err)
	}
	_, err = h.invoke("Decrypt", in{"CiphertextBlob": c.marshal(), "EncryptionContext": in{"a": "b"}})
	wantError(t, err, kms.KMSInvalidStateException, proxyTextInner)
}

// TestProxyAnswersDoNotFit: what has no place in a blob never leaves in one.
func TestProxyAnswersDoNotFit(t *testing.T) {
	h := newStoreHarness(t)
	store := h.createProxyStore("proxy")
	h.connect(store)
	key := h.externalKey(store, "k")
	for name, mangle := range map[string]func(*ExternalSealed){
		"IV":         func(s *ExternalSealed) { s.IV = s.IV[:13] },
		"tag":        func(s *ExternalSealed) { s.Tag = s.Tag[:12] },
		"metadata":   func(s *ExternalSealed) { s.Metadata = make([]byte, 21) },
		"ciphertext": func(s *ExternalSealed) { s.Ciphertext = s.Ciphertext[1:] },
	} {
		h.proxies.mangle = mangle
		_, err := h.invoke("Encrypt", in{"KeyId": key.KeyId, "Plaintext": []byte("x")})
		t.Run(name, func(t *testing.T) { wantError(t, err, kms.KMSInvalidStateException, proxyTextResponse) })
	}
}

// TestProxyFaults has every fault on every operation that asks a proxy, against AWS's texts and codes
// as they stand in its Developer Guide and in the specification of the proxy API.
func TestProxyFaults(t *testing.T) {
	const (
		invalidState = kms.CustomKeyStoreInvalidStateException
		response     = "AWS KMS cannot interpret the response from the external key store proxy. If you see this error repeatedly, consult your external key store proxy administrator."
		unhealthy    = "The external key store proxy is in an unhealthy state. If you see this message repeatedly, notify your external key store proxy administrator."
	)
	h := newStoreHarness(t)
	store := h.createProxyStore("proxy")
	h.connect(store)
	key := h.externalKey(store, "k")
	blob := h.encrypt(key.KeyId)
	h.proxies.add("new")
	for fault, c := range map[ProxyFault]struct {
		management kms.ErrorCode
		createKey  kms.ErrorCode
		connection kms.ConnectionErrorCodeType
		text       string
	}{
		"ValidationException": {kms.XksProxyInvalidResponseException, invalidState, "XKS_PROXY_INVALID_RESPONSE", response},
		"InvalidStateException": {kms.XksProxyInvalidResponseException, kms.XksKeyInvalidConfigurationException, "XKS_PROXY_INVALID_RESPONSE",
			"The external key store proxy rejected the request because the external key is not enabled in the external key manager."},
		"InvalidCiphertextException": {kms.XksProxyInvalidResponseException, invalidState, "XKS_PROXY_INVALID_RESPONSE",
			"The external key store proxy rejected the request because the specified ciphertext or additional authenticated data is corrupted, missing, or otherwise invalid."},
		"InvalidKeyUsageException": {kms.XksProxyInvalidResponseException, kms.XksKeyInvalidConfigurationException, "XKS_PROXY_INVALID_RESPONSE",
			"The external key store proxy rejected the request because the external key does not support the requested operation."},
		"AuthenticationFailedException": {kms.XksProxyIncorrectAuthenticationCredentialException, invalidState, "INVALID_CREDENTIALS",
			"The external key store proxy rejected the request because it could not authenticate AWS KMS. Verify the credentials for your external key store and update if necessary."},
		"AccessDeniedException": {kms.XksProxyInvalidResponseException, invalidState, "XKS_PROXY_ACCESS_DENIED",
			"The external key store proxy denied access to the operation. Verify that the user and the external key are both authorized for this operation, and try the request again."},
		"KeyNotFoundException": {kms.XksProxyInvalidResponseException, kms.XksKeyNotFoundException, "XKS_PROXY_INVALID_RESPONSE",
			"The external key store proxy rejected the request because it could not find the external key."},
		"InvalidUriPathException": {kms.XksProxyInvalidConfigurationException, invalidState, "XKS_PROXY_INVALID_CONFIGURATION",
			"The external key store proxy rejected the request because of an invalid URI path. Verify the URI path for your external key store and update if necessary."},
		"ThrottlingException": {kms.XksProxyUriUnreachableException, invalidState, "XKS_PROXY_NOT_REACHABLE", unhealthy},
		"UnsupportedOperationException": {kms.XksProxyInvalidResponseException, kms.UnsupportedOperationException, "XKS_PROXY_INVALID_RESPONSE",
			"The external key store proxy rejected the request because it does not support the requested cryptographic operation."},
		"DependencyTimeoutException": {kms.XksProxyUriUnreachableException, invalidState, "XKS_PROXY_TIMED_OUT",
			"The external key store proxy did not respond to the request in the time allotted. Retry the request. If you see this error repeatedly, report it to your external key store proxy administrator."},
		"InternalException": {kms.XksProxyInvalidResponseException, invalidState, "XKS_PROXY_INVALID_RESPONSE", response},
		"ATeapotException":  {kms.XksProxyInvalidResponseException, invalidState, "XKS_PROXY_INVALID_RESPONSE", response},
		ProxyMalformed:      {kms.XksProxyInvalidResponseException, invalidState, "XKS_PROXY_INVALID_RESPONSE", response},
		ProxyUnhealthy:      {kms.XksProxyUriUnreachableException, invalidState, "XKS_PROXY_NOT_REACHABLE", unhealthy},
		ProxyTimeout: {kms.XksProxyUriUnreachableException, invalidState, "XKS_PROXY_TIMED_OUT",
			"AWS KMS rejected the request because the external key store proxy did not respond in time. Retry the request. If you see this error repeatedly, report it to your external key store proxy administrator."},
		ProxyTLS: {kms.XksProxyUriUnreachableException, invalidState, "XKS_PROXY_INVALID_TLS_CONFIGURATION",
			"AWS KMS cannot establish a TLS connection to the external key store proxy. Verify the TLS configuration, including its certificate."},
		ProxyForbidden: {kms.XksProxyInvalidConfigurationException, invalidState, "XKS_PROXY_INVALID_CONFIGURATION",
			"The external key store proxy is at an address that this server does not connect to. Verify the endpoint URI of your external key store."},
		ProxyUnreachable: {kms.XksProxyUriUnreachableException, invalidState, "XKS_PROXY_NOT_REACHABLE",
			"AWS KMS cannot communicate with the external key store proxy. This might be a transient network issue. If you see this error repeatedly, verify that your external key store proxy is active and is connected to the network, and that its endpoint URI is correct in your external key store."},
	} {
		t.Run(string(fault), func(t *testing.T) {
			h.proxies.fail(&ProxyError{Fault: fault, Cause: errors.New("for the log")})
			for op, request := range map[string]in{
				"Encrypt":                         {"KeyId": key.KeyId, "Plaintext": []byte("x")},
				"Decrypt":                         {"CiphertextBlob": blob, "EncryptionContext": in{"a": "b"}},
				"GenerateDataKey":                 {"KeyId": key.KeyId, "NumberOfBytes": 32},
				"GenerateDataKeyWithoutPlaintext": {"KeyId": key.KeyId, "NumberOfBytes": 32},
				"ReEncrypt":                       {"CiphertextBlob": blob, "SourceEncryptionContext": in{"a": "b"}, "DestinationKeyId": key.KeyId},
			} {
				_, err := h.invoke(op, request)
				wantError(t, err, kms.KMSInvalidStateException, c.text)
			}
			_, err := h.invoke("CreateCustomKeyStore", newProxyStore("new", "/new/kms/xks/v1"))
			wantError(t, err, c.management, c.text)
			_, err = h.invoke("UpdateCustomKeyStore", in{"CustomKeyStoreId": store, "XksProxyUriPath": "/new/kms/xks/v1"})
			wantError(t, err, c.management, c.text)
			_, err = h.invoke("CreateKey", in{"Origin": "EXTERNAL_KEY_STORE", "CustomKeyStoreId": store, "XksKeyId": "new"})
			wantError(t, err, c.createKey, c.text)
			h.disconnect(store)
			h.must("ConnectCustomKeyStore", in{"CustomKeyStoreId": store})
			h.wantState(store, "CONNECTING", "")
			h.follow()
			h.wantState(store, "FAILED", c.connection)
			if state := h.must("DescribeKey", in{"KeyId": key.KeyId}).(*kms.DescribeKeyResponse).KeyMetadata.KeyState; state != "Unavailable" {
				t.Errorf("the key is %s", state)
			}
			h.proxies.fail(nil)
			h.disconnect(store)
			h.connect(store)
			h.wantText(blob)
		})
	}
}

func TestExternalKeyProperties(t *testing.T) {
	h := newStoreHarness(t)
	store := h.createProxyStore("proxy")
	h.connect(store)
	for id, c := range map[string]struct {
		key  ExternalKey
		text string
	}{
		"rsa":      {ExternalKey{"RSA_2048", "ENABLED", []string{"ENCRYPT", "DECRYPT"}}, "The key spec of the external key must be AES_256. The key spec of specified external key is RSA_2048."},
		"disabled": {ExternalKey{"AES_256", "DISABLED", []string{"ENCRYPT", "DECRYPT"}}, "The status of the external key must be ENABLED. The status of specified external key is DISABLED."},
		"one-way":  {ExternalKey{"AES_256", "ENABLED", []string{"ENCRYPT", "SIGN"}}, "The key usage of the external key must include ENCRYPT and DECRYPT. The key use of specified external key is ENCRYPT, SIGN."},
	} {
		h.proxies.set(id, c.key)
		_, err := h.invoke("CreateKey", in{"Origin": "EXTERNAL_KEY_STORE", "CustomKeyStoreId": store, "XksKeyId": id})
		wantError(t, err, kms.XksKeyInvalidConfigurationException, c.text)
	}
	_, err := h.invoke("CreateKey", in{"Origin": "EXTERNAL_KEY_STORE", "CustomKeyStoreId": store, "XksKeyId": "none"})
	wantError(t, err, kms.XksKeyNotFoundException, proxyTextNoKey)
	// None of this took an id.
	h.externalKey(store, "rsa")
}

// TestUpdateExternal changes a connected store's credential, which the next request uses.
func TestUpdateExternal(t *testing.T) {
	h := newStoreHarness(t)
	store := h.createProxyStore("proxy")
	h.connect(store)
	key := h.externalKey(store, "k")
	blob := h.encrypt(key.KeyId)
	const newID, newSecret = "ZZZZZZZZZZZZZZZZZZZZ", "9999999999999999999999999999999999999999999"
	h.must("UpdateCustomKeyStore", in{"CustomKeyStoreId": store, "XksProxyUriPath": "/other/kms/xks/v1",
		"XksProxyAuthenticationCredential": in{"AccessKeyId": newID, "RawSecretAccessKey": newSecret}})
	h.wantState(store, "CONNECTED", "")
	h.wantText(blob)
	last := h.proxies.opened[len(h.proxies.opened)-1]
	if last.AccessKeyID != newID || last.Secret != newSecret || last.Path != "/other/kms/xks/v1" || last.Region != testRegion {
		t.Errorf("the proxy is reached by %s with %s", last, last.AccessKeyID)
	}
	if got := h.describe(store).XksProxyConfiguration; got.AccessKeyId != newID || got.UriPath != "/other/kms/xks/v1" {
		t.Error("the store is described as before")
	}
	h.must("UpdateCustomKeyStore", in{"CustomKeyStoreId": store, "XksProxyUriPath": "/proxy/kms/xks/v1"})
	if last := h.proxies.opened[len(h.proxies.opened)-1]; last.Secret != newSecret {
		t.Error("an update of the path lost the credential")
	}
	h.disconnect(store)
	h.must("UpdateCustomKeyStore", in{"CustomKeyStoreId": store, "XksProxyUriEndpoint": "https://moved.example.com", "XksProxyConnectivity": "VPC_ENDPOINT_SERVICE",
		"XksProxyVpcEndpointServiceName": "com.amazonaws.vpce.us-east-1.vpce-svc-example", "XksProxyVpcEndpointServiceOwner": account})
	h.connect(store)
	h.wantText(blob)
	h.disconnect(store)
	h.must("UpdateCustomKeyStore", in{"CustomKeyStoreId": store, "XksProxyConnectivity": "PUBLIC_ENDPOINT"})
	got := h.describe(store).XksProxyConfiguration
	if got.VpcEndpointServiceName != "" || got.VpcEndpointServiceOwner != "" || got.UriEndpoint != "https://moved.example.com" {
		t.Error("a public endpoint kept its VPC endpoint service")
	}
}

// TestNoExternalStores: a server without settings for proxies says so.
func TestNoExternalStores(t *testing.T) {
	h := newStoreHarness(t)
	h.service.proxies = nil
	_, err := h.invoke("CreateCustomKeyStore", newProxyStore("proxy", "/kms/xks/v1"))
	wantError(t, err, kms.UnsupportedOperationException, "External key stores are not supported: the server has no settings for them.")
}

// TestStoreSecretsAreSealed looks for secrets in the records.
func TestStoreSecretsAreSealed(t *testing.T) {
	h := newStoreHarness(t)
	cloud, external := h.createStore(clusterA, "cloud"), h.createProxyStore("proxy")
	for _, id := range []string{cloud, external} {
		r, err := h.store.CustomKeyStore(t.Context(), keyStoreID(h.call(account), id))
		if err != nil {
			t.Fatal(err)
		}
		sealed, purpose, want := []byte(nil), "", ""
		if r.CloudHSM != nil {
			sealed, purpose, want = r.CloudHSM.SealedPassword, passwordPurpose(id), h.pins[clusterA]
		} else {
			sealed, purpose, want = r.External.SealedSecret, secretPurpose(id), testSecret
		}
		if bytes.Contains(sealed, []byte(want)) || len(sealed) != len(want)+33 {
			t.Errorf("%s: not sealed", r.Type)
		}
		if plain, err := h.domain.Open(t.Context(), purpose, sealed); err != nil || string(plain) != want {
			t.Errorf("%s: sealed is something else: %v", r.Type, err)
		}
		if _, err := h.domain.Open(t.Context(), purpose+"0", sealed); err == nil {
			t.Errorf("%s: another store's name opens it", r.Type)
		}
	}
}
