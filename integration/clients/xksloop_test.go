package clients_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kms11/kms11/integration/kms11test"
)

// authority makes the certificates of one test.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{certificate, key}
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}

// issue makes a certificate for 127.0.0.1 and PEM files of it and its key.
func (a *authority) issue(t testing.TB) (pair tls.Certificate, certificateFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "proxy"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certificateFile = writeFile(t, "certificate.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	keyFile = writeFile(t, "key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	if pair, err = tls.LoadX509KeyPair(certificateFile, keyFile); err != nil {
		t.Fatal(err)
	}
	return pair, certificateFile, keyFile
}

func writeFile(t testing.TB, name string, data []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// faultyPath stands between a KMS and its external key store proxy, as a network does, and has every
// fault that a test asks for.
type faultyPath struct {
	address string // host:port, over TLS

	mu          sync.Mutex
	certificate tls.Certificate
	answer      func(http.ResponseWriter, *http.Request) // in place of the proxy's; nil: pass on
	asked       int
}

func newFaultyPath(t testing.TB, upstream string, roots *x509.CertPool, certificate tls.Certificate) *faultyPath {
	t.Helper()
	p := &faultyPath{certificate: certificate}
	target, err := url.Parse("https://" + upstream)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // it is signed
		},
		Transport:    transport,
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }, // as if it had not answered
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.address = listener.Addr().String()
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p.mu.Lock()
			answer := p.answer
			p.asked++
			p.mu.Unlock()
			if answer == nil {
				forward.ServeHTTP(w, r)
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			answer(w, r)
		}),
		// Without tickets: a session that goes on shows no certificate.
		TLSConfig: &tls.Config{SessionTicketsDisabled: true, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			certificate := p.certificate
			return &certificate, nil
		}},
		ErrorLog: nil,
	}
	server.SetKeepAlivesEnabled(false) // so that a new certificate is seen
	go func() { _ = server.ServeTLS(listener, "", "") }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func (p *faultyPath) fail(answer func(http.ResponseWriter, *http.Request)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

func (p *faultyPath) show(certificate tls.Certificate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.certificate = certificate
}

// saying answers with an error of the proxy API.
func saying(status int, name string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"errorName":"`+name+`","errorMessage":"by the test"}`)
	}
}

// xksServer is a server with an external key store proxy over TLS and one tenant.
type xksServer struct {
	*kms11test.Server
	listen string
}

func startXKSServer(t testing.TB, ca *authority) *xksServer {
	t.Helper()
	_, certificate, key := ca.issue(t)
	b := &xksServer{listen: kms11test.FreeAddress(t)}
	// No test depends on how fast the machine is, so a token may take its time.
	config := writeFile(t, "b.yaml", []byte("xks:\n  listen: "+b.listen+"\n  timeout: 60000\n  tls: {certificate: "+certificate+", key: "+key+"}\n"))
	b.Server = kms11test.Start(t, "--config", config)
	b.admin(t, "tenant", "create", "--prefix", "/loop")
	return b
}

// admin runs a kms11 xks command that has to succeed.
func (b *xksServer) admin(t testing.TB, args ...string) string {
	t.Helper()
	output, code := kms11test.Command(t, append(append([]string{"xks"}, args...), "--data", b.Dir)...)
	if code != 0 {
		t.Fatalf("kms11 xks %q left with %d: %s", args, code, output)
	}
	return output
}

// credential makes a credential and gives it as the AWS CLI takes it.
func (b *xksServer) credential(t testing.TB) (id, argument string) {
	t.Helper()
	var file struct {
		XksProxyUriPath                  string
		XksProxyAuthenticationCredential struct{ AccessKeyId, RawSecretAccessKey string }
	}
	if err := json.Unmarshal([]byte(b.admin(t, "credential", "create", "--prefix", "/loop")), &file); err != nil {
		t.Fatal(err)
	}
	c := file.XksProxyAuthenticationCredential
	return c.AccessKeyId, "AccessKeyId=" + c.AccessKeyId + ",RawSecretAccessKey=" + c.RawSecretAccessKey
}

// externalKey makes a key object in B's token and an external key of it.
func (b *xksServer) externalKey(t testing.TB, id string) {
	t.Helper()
	b.admin(t, "key", "create", "--prefix", "/loop", "--id", id, "--object", "pkcs11:token=kms11;object="+id, "--generate")
}

// keyStores is the AWS CLI with what the tests of custom key stores have in common.
type keyStores struct {
	cli
	server *kms11test.Server
}

type storeEntry struct {
	CustomKeyStoreId, ConnectionState, ConnectionErrorCode, CloudHsmClusterId string
	XksProxyConfiguration                                                     struct{ UriEndpoint, UriPath, AccessKeyId string }
}

func (k keyStores) describe(t *testing.T, store string) storeEntry {
	t.Helper()
	var list struct{ CustomKeyStores []storeEntry }
	output, errors, ok := k.command(t, "describe-custom-key-stores", "--custom-key-store-id", store)
	if !ok || json.Unmarshal([]byte(output), &list) != nil || len(list.CustomKeyStores) != 1 {
		t.Fatalf("describe-custom-key-stores: %s %s", output, errors)
	}
	return list.CustomKeyStores[0]
}

// settled waits until a store is not connecting any more.
func (k keyStores) settled(t *testing.T, store string) storeEntry {
	t.Helper()
	for {
		if s := k.describe(t, store); s.ConnectionState != "CONNECTING" {
			return s
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (k keyStores) connect(t *testing.T, store string) storeEntry {
	t.Helper()
	k.ask(t, nil, "connect-custom-key-store", "--custom-key-store-id", store)
	return k.settled(t, store)
}

func (k keyStores) disconnect(t *testing.T, store string) {
	t.Helper()
	k.ask(t, nil, "disconnect-custom-key-store", "--custom-key-store-id", store)
}

func (k keyStores) encrypt(t *testing.T, key string) (blob []byte) {
	t.Helper()
	var out struct{ CiphertextBlob string }
	k.ask(t, &out, "encrypt", "--key-id", key, "--plaintext", "the text", "--encryption-context", "a=b")
	return decode(t, out.CiphertextBlob)
}

// decrypt gives the error's text, empty if the blob gives back its text.
func (k keyStores) decrypt(t *testing.T, blob []byte) (refusal string) {
	t.Helper()
	output, errors, ok := k.command(t, "decrypt", "--ciphertext-blob", k.write(t, "blob", blob), "--encryption-context", "a=b")
	if !ok {
		return errors
	}
	var out struct{ Plaintext string }
	if err := json.Unmarshal([]byte(output), &out); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(decode(t, out.Plaintext), []byte("the text")) {
		t.Error("decrypt gives another text")
	}
	return ""
}

// recovers waits until a blob can be decrypted. Nobody restarts or reconnects anything meanwhile.
func (k keyStores) recovers(t *testing.T, blob []byte) {
	t.Helper()
	refusal := ""
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if refusal = k.decrypt(t, blob); refusal == "" {
			return
		}
	}
	t.Fatalf("it does not recover: %s", refusal)
}

func (k keyStores) keyState(t *testing.T, key string) string {
	t.Helper()
	output, errors, ok := k.command(t, "describe-key", "--key-id", key)
	var m metadata
	if !ok || json.Unmarshal([]byte(output), &m) != nil {
		t.Fatalf("describe-key: %s", errors)
	}
	return m.KeyMetadata.KeyState
}

// TestExternalKeyStoreLoop has one kms11 behind another: A's external key store is B's XKS proxy, whose
// keys are in B's own token.
func TestExternalKeyStoreLoop(t *testing.T) {
	ca := newAuthority(t)
	b := startXKSServer(t, ca)
	pair, _, _ := ca.issue(t)
	roots := x509.NewCertPool()
	roots.AddCert(ca.certificate)
	path := newFaultyPath(t, b.listen, roots, pair)
	config := writeFile(t, "a.yaml", []byte("keystores:\n  external:\n    ports: true\n    budget: 5000\n    ca: "+writeFile(t, "ca.pem", ca.pem())+"\n"))
	a := kms11test.Start(t, "--config", config)
	aws := keyStores{newCLI(t, a), a}
	id, credential := b.credential(t)
	for _, key := range []string{"first", "second", "third"} {
		b.externalKey(t, key)
	}

	create := []string{"create-custom-key-store", "--custom-key-store-name", "loop", "--custom-key-store-type", "EXTERNAL_KEY_STORE",
		"--xks-proxy-connectivity", "PUBLIC_ENDPOINT", "--xks-proxy-uri-endpoint", "https://" + path.address,
		"--xks-proxy-uri-path", "/loop/kms/xks/v1", "--xks-proxy-authentication-credential", credential}
	with := func(flag, value string) []string {
		changed := append([]string(nil), create...)
		for i, arg := range changed {
			if arg == flag {
				changed[i+1] = value
			}
		}
		return changed
	}
	strangers, _, _ := newAuthority(t).issue(t)
	const unreachable = "AWS KMS cannot communicate with the external key store proxy. This might be a transient network issue."
	const noTLS = "AWS KMS cannot establish a TLS connection to the external key store proxy. Verify the TLS configuration, including its certificate."
	aws.refused(t, "(XksProxyInvalidConfigurationException) when calling the CreateCustomKeyStore operation: The external key store proxy rejected the request because of an invalid URI path.",
		with("--xks-proxy-uri-path", "/nobody/kms/xks/v1")...)
	aws.refused(t, "(XksProxyIncorrectAuthenticationCredentialException) when calling the CreateCustomKeyStore operation: The external key store proxy rejected the request because it could not authenticate AWS KMS.",
		with("--xks-proxy-authentication-credential", "AccessKeyId="+id+",RawSecretAccessKey="+strings.Repeat("A", 43))...)
	aws.refused(t, "(XksProxyUriUnreachableException) when calling the CreateCustomKeyStore operation: "+unreachable,
		with("--xks-proxy-uri-endpoint", "https://"+kms11test.FreeAddress(t))...)
	path.show(strangers)
	aws.refused(t, "(XksProxyUriUnreachableException) when calling the CreateCustomKeyStore operation: "+noTLS, create...)
	path.show(pair)

	var made struct{ CustomKeyStoreId string }
	aws.ask(t, &made, create...)
	store := made.CustomKeyStoreId
	if s := aws.describe(t, store); s.ConnectionState != "DISCONNECTED" || s.XksProxyConfiguration.AccessKeyId != id || s.XksProxyConfiguration.UriPath != "/loop/kms/xks/v1" {
		t.Errorf("the new store is %+v", s)
	}
	newKey := func(external string) []string {
		return []string{"create-key", "--origin", "EXTERNAL_KEY_STORE", "--custom-key-store-id", store, "--xks-key-id", external}
	}
	aws.refused(t, "CustomKeyStoreInvalidStateException", newKey("first")...)
	if s := aws.connect(t, store); s.ConnectionState != "CONNECTED" {
		t.Fatalf("the store is %+v", s)
	}
	var key metadata
	aws.ask(t, &key, newKey("first")...)
	aws.refused(t, "(XksKeyAlreadyInUseException)", newKey("first")...)
	aws.refused(t, "(XksKeyNotFoundException) when calling the CreateKey operation: The external key store proxy rejected the request because it could not find the external key.", newKey("nobody")...)
	b.admin(t, "key", "disable", "--id", "third")
	aws.refused(t, "(XksKeyInvalidConfigurationException) when calling the CreateKey operation: The status of the external key must be ENABLED. The status of specified external key is DISABLED.", newKey("third")...)
	keyID, arn := key.KeyMetadata.KeyId, key.KeyMetadata.Arn
	blob := aws.encrypt(t, keyID)
	if refusal := aws.decrypt(t, blob); refusal != "" {
		t.Fatal(refusal)
	}
	var data struct{ CiphertextBlob, Plaintext string }
	aws.ask(t, &data, "generate-data-key", "--key-id", arn, "--key-spec", "AES_256")

	aws.disconnect(t, store)
	if state := aws.keyState(t, keyID); state != "Unavailable" {
		t.Errorf("the key of a disconnected store is %s", state)
	}
	aws.refused(t, "(KMSInvalidStateException) when calling the Encrypt operation: "+arn+" is unavailable.", "encrypt", "--key-id", keyID, "--plaintext", "x")
	if s := aws.connect(t, store); s.ConnectionState != "CONNECTED" {
		t.Fatalf("the store is %+v", s)
	}
	if state := aws.keyState(t, keyID); state != "Enabled" {
		t.Errorf("the key is %s again", state)
	}

	failed := func(t *testing.T, text string) {
		t.Helper()
		if refusal := aws.decrypt(t, blob); !strings.Contains(refusal, "(KMSInvalidStateException) when calling the Decrypt operation: "+text) {
			t.Errorf("decrypt: %q, want %q", refusal, text)
		}
		aws.refused(t, "(KMSInvalidStateException) when calling the Encrypt operation: "+text, "encrypt", "--key-id", keyID, "--plaintext", "x")
	}
	t.Run("errors", func(t *testing.T) {
		for _, c := range []struct {
			status     int
			name, text string
		}{
			{400, "ValidationException", "AWS KMS cannot interpret the response from the external key store proxy."},
			{400, "InvalidStateException", "The external key store proxy rejected the request because the external key is not enabled in the external key manager."},
			{400, "InvalidCiphertextException", "The external key store proxy rejected the request because the specified ciphertext or additional authenticated data is corrupted, missing, or otherwise invalid."},
			{400, "InvalidKeyUsageException", "The external key store proxy rejected the request because the external key does not support the requested operation."},
			{401, "AuthenticationFailedException", "The external key store proxy rejected the request because it could not authenticate AWS KMS."},
			{403, "AccessDeniedException", "The external key store proxy denied access to the operation."},
			{404, "KeyNotFoundException", "The external key store proxy rejected the request because it could not find the external key."},
			{404, "InvalidUriPathException", "The external key store proxy rejected the request because of an invalid URI path."},
			{429, "ThrottlingException", "The external key store proxy is in an unhealthy state."},
			{501, "UnsupportedOperationException", "The external key store proxy rejected the request because it does not support the requested cryptographic operation."},
			{503, "DependencyTimeoutException", "The external key store proxy did not respond to the request in the time allotted."},
			{500, "InternalException", "AWS KMS cannot interpret the response from the external key store proxy."},
			{418, "TeapotException", "AWS KMS cannot interpret the response from the external key store proxy."},
		} {
			path.fail(saying(c.status, c.name))
			failed(t, c.text)
			path.fail(nil)
			aws.recovers(t, blob)
		}
	})
	t.Run("malformed", func(t *testing.T) {
		for _, body := range []string{"", "<html>503 Service Unavailable</html>", "[]", `{"plaintext":"AAAA","ciphertext":"AAAA"}`} {
			path.fail(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
			failed(t, "AWS KMS cannot interpret the response from the external key store proxy.")
		}
		path.fail(nil)
		aws.recovers(t, blob)
	})
	t.Run("slow", func(t *testing.T) {
		path.fail(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		if refusal := aws.decrypt(t, blob); !strings.Contains(refusal, "AWS KMS rejected the request because the external key store proxy did not respond in time. Retry the request.") {
			t.Errorf("decrypt: %q", refusal)
		}
		path.fail(nil)
		aws.recovers(t, blob)
	})
	t.Run("wrong CA", func(t *testing.T) {
		path.show(strangers)
		failed(t, noTLS)
		path.show(pair)
		aws.recovers(t, blob)
	})
	t.Run("killed", func(t *testing.T) {
		b.Kill(t)
		for range 4 { // until requests are spared it, and then the same text
			failed(t, unreachable)
		}
		b.Restart(t)
		aws.recovers(t, blob)
	})
	t.Run("credential", func(t *testing.T) {
		b.admin(t, "credential", "disable", "--id", id)
		failed(t, "The external key store proxy rejected the request because it could not authenticate AWS KMS.")
		_, fresh := b.credential(t)
		aws.ask(t, nil, "update-custom-key-store", "--custom-key-store-id", store, "--xks-proxy-authentication-credential", fresh)
		aws.recovers(t, blob) // without being disconnected
	})
	t.Run("external key disabled", func(t *testing.T) {
		b.admin(t, "key", "disable", "--id", "first")
		failed(t, "The external key store proxy rejected the request because the external key is not enabled in the external key manager.")
		b.admin(t, "key", "enable", "--id", "first")
		aws.recovers(t, blob)
	})
	t.Run("connection fails", func(t *testing.T) {
		for _, c := range []struct {
			fault func()
			want  string
		}{
			{func() { path.fail(saying(401, "AuthenticationFailedException")) }, "INVALID_CREDENTIALS"},
			{func() { path.fail(saying(404, "InvalidUriPathException")) }, "XKS_PROXY_INVALID_CONFIGURATION"},
			{func() { path.fail(saying(503, "DependencyTimeoutException")) }, "XKS_PROXY_TIMED_OUT"},
			{func() { path.fail(saying(500, "InternalException")) }, "XKS_PROXY_INVALID_RESPONSE"},
			{func() { path.show(strangers) }, "XKS_PROXY_INVALID_TLS_CONFIGURATION"},
			{func() { path.fail(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }) }, "XKS_PROXY_NOT_REACHABLE"},
		} {
			aws.disconnect(t, store)
			c.fault()
			if s := aws.connect(t, store); s.ConnectionState != "FAILED" || s.ConnectionErrorCode != c.want {
				t.Errorf("the store is %s %s, want %s", s.ConnectionState, s.ConnectionErrorCode, c.want)
			}
			path.fail(nil)
			path.show(pair)
		}
		aws.refused(t, "(CustomKeyStoreInvalidStateException)", "connect-custom-key-store", "--custom-key-store-id", store)
		aws.disconnect(t, store)
		if s := aws.connect(t, store); s.ConnectionState != "CONNECTED" || s.ConnectionErrorCode != "" {
			t.Errorf("the store is %+v", s)
		}
		aws.recovers(t, blob)
	})
	t.Run("restart", func(t *testing.T) {
		a.Kill(t)
		a.Restart(t)
		after := keyStores{newCLI(t, a), a}
		if refusal := after.decrypt(t, blob); refusal != "" {
			t.Error(refusal)
		}
		if s := after.describe(t, store); s.ConnectionState != "CONNECTED" {
			t.Errorf("the store is %s", s.ConnectionState)
		}
		after.refused(t, "(CustomKeyStoreInvalidStateException)", "delete-custom-key-store", "--custom-key-store-id", store)
		after.disconnect(t, store)
		after.refused(t, "(CustomKeyStoreHasCMKsException)", "delete-custom-key-store", "--custom-key-store-id", store)
	})
}
