package ops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// ExternalProxies opens connections to external key store proxies.
type ExternalProxies interface {
	// AllowPorts says that an endpoint may have a port, which AWS's cannot.
	AllowPorts() bool
	// Open makes what reaches a proxy. It sends nothing yet: an error is about the settings.
	Open(ProxyAddress) (ExternalProxy, error)
}

// ProxyAddress is where a proxy is and the credential that it knows.
type ProxyAddress struct {
	Endpoint, Path      string
	AccessKeyID, Secret string
	Region              string // of the signatures
}

// Format hides the secret from every verb.
func (a ProxyAddress) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, a.Endpoint+a.Path)
}

// ExternalProxy is an external key store proxy. Its methods may be called by several goroutines at
// once. An error is a *ProxyError, or the context's.
type ExternalProxy interface {
	// Health asks whether the proxy and at least one key manager behind it work.
	Health(context.Context, ProxyCall) error
	// Describe asks for what a key may do.
	Describe(ctx context.Context, call ProxyCall, keyID string) (ExternalKey, error)
	Encrypt(ctx context.Context, call ProxyCall, keyID string, aad, plaintext []byte) (ExternalSealed, error)
	Decrypt(ctx context.Context, call ProxyCall, keyID string, aad []byte, sealed ExternalSealed) ([]byte, error)
	// Close lets go of the connections; calls under way still end well.
	Close()
}

// ProxyCall is the request of a client for whose sake a proxy is asked.
type ProxyCall struct {
	Operation, RequestID string
	PrincipalARN, KeyARN string // where there are any
}

// ExternalKey is what a proxy says of a key.
type ExternalKey struct {
	Spec   string
	Status string
	Usage  []string
}

// ExternalSealed is what a proxy makes of a plaintext: a ciphertext as long as it, a tag of 16
// bytes, an IV of 12 or 16, and at most 20 bytes of the proxy's own.
type ExternalSealed struct{ Ciphertext, IV, Tag, Metadata []byte }

// ProxyFault is what went wrong between this service and a proxy: an error name of the proxy API, or
// one of those that no proxy sends.
type ProxyFault string

// The faults that are not errors of the proxy API.
const (
	ProxyTimeout     ProxyFault = "timeout"     // no answer in time
	ProxyTLS         ProxyFault = "TLS"         // no TLS session
	ProxyUnreachable ProxyFault = "unreachable" // no TCP connection
	ProxyForbidden   ProxyFault = "forbidden"   // an address that is not connected to
	ProxyMalformed   ProxyFault = "malformed"   // an answer that nobody can interpret
	ProxyUnhealthy   ProxyFault = "unhealthy"   // none of its key managers works
)

// ProxyError is a request that a proxy did not do. Cause is for the log.
type ProxyError struct {
	Fault ProxyFault
	Cause error
}

func (e *ProxyError) Error() string {
	return fmt.Sprintf("external key store proxy: %s: %v", e.Fault, e.Cause)
}
func (e *ProxyError) Unwrap() error { return e.Cause }

// proxyFault is what AWS KMS makes of a fault: a text, which every operation gives, the error code of
// CreateCustomKeyStore and UpdateCustomKeyStore, that of CreateKey, and the code of a connection that
// failed. A cryptographic operation gives KMSInvalidStateException.
type proxyFault struct {
	text       string
	management kms.ErrorCode
	createKey  kms.ErrorCode
	connection kms.ConnectionErrorCodeType
}

// The texts of AWS KMS (Developer Guide, "Troubleshooting external key stores").
const (
	proxyTextPath        = "The external key store proxy rejected the request because of an invalid URI path. Verify the URI path for your external key store and update if necessary."
	proxyTextTLS         = "AWS KMS cannot establish a TLS connection to the external key store proxy. Verify the TLS configuration, including its certificate."
	proxyTextUnreachable = "AWS KMS cannot communicate with the external key store proxy. This might be a transient network issue. If you see this error repeatedly, verify that your external key store proxy is active and is connected to the network, and that its endpoint URI is correct in your external key store."
	proxyTextTimeout     = "AWS KMS rejected the request because the external key store proxy did not respond in time. Retry the request. If you see this error repeatedly, report it to your external key store proxy administrator."
	proxyTextDependency  = "The external key store proxy did not respond to the request in the time allotted. Retry the request. If you see this error repeatedly, report it to your external key store proxy administrator."
	proxyTextCredential  = "The external key store proxy rejected the request because it could not authenticate AWS KMS. Verify the credentials for your external key store and update if necessary."
	proxyTextCiphertext  = "The external key store proxy rejected the request because the specified ciphertext or additional authenticated data is corrupted, missing, or otherwise invalid."
	proxyTextInner       = "The ciphertext that the external key store proxy submitted for decryption, or the encryption context, is corrupted, missing, or otherwise invalid."
	proxyTextNoKey       = "The external key store proxy rejected the request because it could not find the external key."
	proxyTextUsage       = "The external key store proxy rejected the request because the external key does not support the requested operation."
	proxyTextDisabled    = "The external key store proxy rejected the request because the external key is not enabled in the external key manager."
	proxyTextUnhealthy   = "The external key store proxy is in an unhealthy state. If you see this message repeatedly, notify your external key store proxy administrator."
	proxyTextResponse    = "AWS KMS cannot interpret the response from the external key store proxy. If you see this error repeatedly, consult your external key store proxy administrator."
	proxyTextUnsupported = "The external key store proxy rejected the request because it does not support the requested cryptographic operation."
	proxyTextDenied      = "The external key store proxy denied access to the operation. Verify that the user and the external key are both authorized for this operation, and try the request again."
)

// proxyTextForbidden is kms11's own: AWS KMS reaches proxies on the public Internet or in a VPC only.
const proxyTextForbidden = "The external key store proxy is at an address that this server does not connect to. Verify the endpoint URI of your external key store."

// proxyFaults is the table of all faults. Where AWS does not say what becomes of an error that a proxy
// must not send for the operation, it is a response that cannot be interpreted. Nothing writes to it.
var proxyFaults = map[ProxyFault]proxyFault{
	"ValidationException":           {proxyTextResponse, kms.XksProxyInvalidResponseException, kms.CustomKeyStoreInvalidStateException, kms.ConnectionErrorCodeTypeXksProxyInvalidResponse},
	"InvalidStateException":         {proxyTextDisabled, kms.XksProxyInvalidResponseException, kms.XksKeyInvalidConfigurationException, kms.ConnectionErrorCodeTypeXksProxyInvalidResponse},
	"InvalidCiphertextException":    {proxyTextCiphertext, kms.XksProxyInvalidResponseException, kms.CustomKeyStoreInvalidStateException, kms.ConnectionErrorCodeTypeXksProxyInvalidResponse},
	"InvalidKeyUsageException":      {proxyTextUsage, kms.XksProxyInvalidResponseException, kms.XksKeyInvalidConfigurationException, kms.ConnectionErrorCodeTypeXksProxyInvalidResponse},
	"AuthenticationFailedException": {proxyTextCredential, kms.XksProxyIncorrectAuthenticationCredentialException, kms.CustomKeyStoreInvalidStateException, kms.ConnectionErrorCodeTypeInvalidCredentials},
	"AccessDeniedException":         {proxyTextDenied, kms.XksProxyInvalidResponseException, kms.CustomKeyStoreInvalidStateException, kms.ConnectionErrorCodeTypeXksProxyAccessDenied},
	"KeyNotFoundException":          {proxyTextNoKey, kms.XksProxyInvalidResponseException, kms.XksKeyNotFoundException, kms.ConnectionErrorCodeTypeXksProxyInvalidResponse},
	"InvalidUriPathException":       {proxyTextPath, kms.XksProxyInvalidConfigurationException, kms.CustomKeyStoreInvalidStateException, kms.ConnectionErrorCodeTypeXksProxyInvalidConfiguration},
	"ThrottlingException":           {proxyTextUnhealthy, kms.XksProxyUriUnreachableException, kms.CustomKeyStoreInvalidStateException, kms.ConnectionErrorCodeTypeXksProxyNotReachable},
	"UnsupportedOperationException": {proxyTextUnsupported, kms.XksProxyInvalidResponseException, kms.UnsupportedOperationException, kms.ConnectionErrorCodeTypeXksProxyInvalidResponse},
	"DependencyTimeoutException":    {proxyTextDependency, kms.XksProxyUriUnreachableException, kms.CustomKeyStoreInvalidStateException, kms.ConnectionErrorCodeTypeXksProxyTimedOut},
	"InternalException":             {proxyTextResponse, kms.XksProxyInvalidResponseException, kms.CustomKeyStoreInvalidStateException, kms.ConnectionErrorCodeTypeXksProxyInvalidResponse},

	ProxyTimeout:     {proxyTextTimeout, kms.XksProxyUriUnreachableException, kms.CustomKeyStoreInvalidStateException, kms.ConnectionErrorCodeTypeXksProxyTimedOut},
	ProxyTLS:         {proxyTextTLS, kms.XksProxyUriUnreachableException, kms.CustomKeyStoreInvalidStateException, kms.ConnectionErrorCodeTypeXksProxyInvalidTlsConfiguration},
	ProxyUnreachable: {proxyTextUnreachable, kms.XksProxyUriUnreachableException, kms.CustomKeyStoreInvalidStateException, kms.ConnectionErrorCodeTypeXksProxyNotReachable},
	ProxyForbidden:   {proxyTextForbidden, kms.XksProxyInvalidConfigurationException, kms.CustomKeyStoreInvalidStateException, kms.ConnectionErrorCodeTypeXksProxyInvalidConfiguration},
	ProxyMalformed:   {proxyTextResponse, kms.XksProxyInvalidResponseException, kms.CustomKeyStoreInvalidStateException, kms.ConnectionErrorCodeTypeXksProxyInvalidResponse},
	ProxyUnhealthy:   {proxyTextUnhealthy, kms.XksProxyUriUnreachableException, kms.CustomKeyStoreInvalidStateException, kms.ConnectionErrorCodeTypeXksProxyNotReachable},
}

// faultOf gives the row of an error of a proxy; ok is false for other errors. A name that the proxy
// API does not have is a response that cannot be interpreted.
func faultOf(err error) (row proxyFault, ok bool) {
	var fault *ProxyError
	if !errors.As(err, &fault) {
		return row, false
	}
	if row, ok = proxyFaults[fault.Fault]; !ok {
		row = proxyFaults[ProxyMalformed]
	}
	return row, true
}

// A ProxyVerdict is what AWS KMS makes of a proxy's error: the exceptions of CreateCustomKeyStore and
// UpdateCustomKeyStore, of CreateKey and of the cryptographic operations, and the text of all.
type ProxyVerdict struct {
	Management, CreateKey, Crypto kms.ErrorCode
	Text                          string
}

// VerdictOn says what AWS KMS makes of an error of an ExternalProxy; ok is false for other errors.
func VerdictOn(err error) (v ProxyVerdict, ok bool) {
	row, ok := faultOf(err)
	if !ok {
		return v, false
	}
	return ProxyVerdict{row.management, row.createKey, kms.KMSInvalidStateException, row.text}, true
}

// managementError is what CreateCustomKeyStore and UpdateCustomKeyStore make of a proxy's error.
func managementError(err error) error {
	if row, ok := faultOf(err); ok {
		return kms.Errorf(row.management, "%s", row.text).Because(err)
	}
	return err
}

// externalKeyError is what CreateKey makes of a proxy's error.
func externalKeyError(err error) error {
	if row, ok := faultOf(err); ok {
		return kms.Errorf(row.createKey, "%s", row.text).Because(err)
	}
	return err
}

// externalError is what a cryptographic operation makes of a proxy's error.
func externalError(err error) error {
	if row, ok := faultOf(err); ok {
		return kms.Errorf(kms.KMSInvalidStateException, "%s", row.text).Because(err)
	}
	return err
}

// probeProxy asks the proxy that a store would have for its health.
func (s *Service) probeProxy(ctx context.Context, call *Call, r *keystore.CustomKeyStoreRecord, secret string) error {
	proxy, err := s.proxies.Open(addressOf(r, secret))
	if err != nil {
		return &ProxyError{Fault: ProxyTLS, Cause: err}
	}
	defer proxy.Close()
	return proxy.Health(ctx, ProxyCall{Operation: call.Operation, RequestID: call.RequestID, PrincipalARN: call.Caller.Principal.ARN})
}

func addressOf(r *keystore.CustomKeyStoreRecord, secret string) ProxyAddress {
	e := r.External
	return ProxyAddress{Endpoint: e.Endpoint, Path: e.Path, AccessKeyID: e.AccessKeyID, Secret: secret, Region: r.Region}
}

// proxyCall says to a proxy what a request wants with a key.
func proxyCall(call *Call, keyARN string) ProxyCall {
	return ProxyCall{Operation: call.Operation, RequestID: call.RequestID, PrincipalARN: call.Caller.Principal.ARN, KeyARN: keyARN}
}

// checkExternalKey refuses an external key that is not fit for a KMS key, with AWS's texts.
func checkExternalKey(k ExternalKey) error {
	refuse := func(text, found string) error {
		return kms.Errorf(kms.XksKeyInvalidConfigurationException, text, found)
	}
	switch {
	case k.Spec != "AES_256":
		return refuse("The key spec of the external key must be AES_256. The key spec of specified external key is %s.", k.Spec)
	case k.Status != "ENABLED":
		return refuse("The status of the external key must be ENABLED. The status of specified external key is %s.", k.Status)
	case !slices.Contains(k.Usage, "ENCRYPT") || !slices.Contains(k.Usage, "DECRYPT"):
		return refuse("The key usage of the external key must include ENCRYPT and DECRYPT. The key use of specified external key is %s.", strings.Join(k.Usage, ", "))
	}
	return nil
}
