package xks

import (
	"errors"
)

// A Verdict is what an AWS KMS makes of a proxy's failure: the exception that its caller gets, by what
// the caller asked for, and the text. The source is the specification's table of exception messages.
// Empty: the failure is not expected there.
type Verdict struct {
	CreateStore string // CreateCustomKeyStore, UpdateCustomKeyStore and, as ConnectionErrorCode's cause, ConnectCustomKeyStore
	CreateKey   string
	Crypto      string
	Message     string
}

const (
	storeInvalidState = "CustomKeyStoreInvalidStateException"
	kmsInvalidState   = "KMSInvalidStateException"
	uriUnreachable    = "XksProxyUriUnreachableException"
	invalidResponse   = "XksProxyInvalidResponseException"
	keyConfiguration  = "XksKeyInvalidConfigurationException"

	textUninterpretable = "AWS KMS cannot interpret the response from the external key store proxy. If you see this error repeatedly, report it to your external key store proxy administrator."
)

// verdicts are by error name. Nothing writes to it.
var verdicts = map[string]Verdict{
	ValidationException: {invalidResponse, storeInvalidState, kmsInvalidState, textUninterpretable},
	InvalidStateException: {"", keyConfiguration, kmsInvalidState,
		"The external key associated with this KMS key in an external key store is not enabled in the external key manager. Enable the external key in the external key manager and retry the request."},
	InvalidCiphertextException: {"", "", kmsInvalidState,
		"The external key store proxy rejected the request because the specified ciphertext or encryption context is corrupted, missing, or otherwise invalid."},
	InvalidKeyUsageException: {"", keyConfiguration, kmsInvalidState,
		"The external key store proxy rejected the request because the external key does not support the requested operation."},
	AuthenticationFailedException: {"XksProxyIncorrectAuthenticationCredentialException", storeInvalidState, kmsInvalidState,
		"The external key store proxy rejected the request because it could not authenticate AWS KMS. Verify the credentials for your external key store and update if necessary."},
	AccessDeniedException: {"", kmsInvalidState, kmsInvalidState,
		"The external key store proxy denied access to the operation. Verify that the user and the external key are both authorized for this operation, and try the request again."},
	KeyNotFoundException: {"", "XksKeyNotFoundException", kmsInvalidState,
		"The external key store proxy rejected the request because it could not find the external key."},
	InvalidUriPathException: {"XksProxyInvalidConfigurationException", storeInvalidState, kmsInvalidState,
		"The external key store proxy rejected the request because of an invalid URI path. Verify the URI path for your external key store and update if necessary."},
	ThrottlingException: {uriUnreachable, storeInvalidState, kmsInvalidState,
		"The external key store proxy rejected the request due to a very high request rate. Reduce the frequency of your calls using KMS keys in this external key store."},
	UnsupportedOperationException: {"", keyConfiguration, kmsInvalidState,
		"The external key store proxy rejected the request because the external key does not support the requested operation."},
	DependencyTimeoutException: {uriUnreachable, storeInvalidState, kmsInvalidState,
		"The external key store proxy is in an unhealthy state. If you see this message repeatedly, notify your external key store proxy administrator."},
	InternalException: {invalidResponse, storeInvalidState, kmsInvalidState,
		"The external key store proxy rejected the request because it cannot communicate with the external key manager. Verify that the external key store proxy configuration is correct and that the external key manager is available."},
}

// VerdictOn says what an AWS KMS answers its caller for an error of a Client.
func VerdictOn(err error) Verdict {
	var proxy *Error
	if errors.As(err, &proxy) {
		if v, known := verdicts[proxy.Name]; known {
			return v
		}
		return verdicts[ValidationException]
	}
	v := Verdict{uriUnreachable, storeInvalidState, kmsInvalidState, ""}
	switch {
	case errors.Is(err, ErrTimeout):
		v.Message = "AWS KMS rejected the request because the external key store proxy did not respond in time. Retry the request. If you see this error repeatedly, report it to your external key store proxy administrator."
	case errors.Is(err, ErrTLS):
		v.Message = "AWS KMS cannot establish a TLS connection to the external key store proxy. Verify the TLS configuration, including its certificate."
	case errors.Is(err, ErrUnreachable):
		v.Message = "AWS KMS cannot communicate with the external key store proxy. This might be a transient network issue. If you see this error repeatedly, verify that your external key store proxy is active and is connected to the network, and that its endpoint URI is correct in your external key store."
	default:
		return verdicts[ValidationException]
	}
	return v
}
