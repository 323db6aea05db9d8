package api

import (
	"bytes"
	"encoding/xml"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/ops"
)

// STS serves the operations of AWS STS that make and name identities, in the AWS Query protocol of
// version 2011-06-15. It is safe for concurrent use.
type STS struct {
	service       *ops.Service
	authenticator Authenticator
	log           *slog.Logger
	bodies        bodies
	meter         Meter
}

// NewSTS makes the handler of the STS API.
func NewSTS(service *ops.Service, authenticator Authenticator, log *slog.Logger) *STS {
	return &STS{service: service, authenticator: authenticator, log: log, bodies: newBodies(), meter: noMeter{}}
}

// Endpoint serves KMS and STS at one address.
func Endpoint(kms, sts http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if forSTS(r) {
			sts.ServeHTTP(w, r)
			return
		}
		kms.ServeHTTP(w, r)
	})
}

// forSTS says whether a request is one to STS. Requests to KMS name their operation in a header; those
// to STS do it in a form or in the URL, and most are signed for STS.
func forSTS(r *http.Request) bool {
	if len(r.Header["X-Amz-Target"]) > 0 || r.URL.Path != "/" {
		return false
	}
	return strings.HasPrefix(r.Header.Get("Content-Type"), formType) ||
		r.Method == http.MethodGet && strings.Contains(r.URL.RawQuery, "Action=") ||
		strings.Contains(r.Header.Get("Authorization"), "/"+stsScope+"/aws4_request")
}

const (
	formType     = "application/x-www-form-urlencoded"
	stsVersion   = "2011-06-15"
	stsNamespace = "https://sts.amazonaws.com/doc/2011-06-15/"
	// maxSTSBody is the largest body of a request to STS in bytes: a token, a policy and 50 tags, each
	// character encoded.
	maxSTSBody = 256 << 10
)

func (h *STS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m := begin(h.meter)
	defer m.end()
	requestID := kms.NewRequestID()
	w.Header()["X-Amzn-Requestid"] = []string{requestID}
	call := h.service.BeginSTS(requestID, originOf(r))
	answer, err := h.invoke(w, r, call)
	m.operation = call.Operation
	if call.Operation != "" { // else there is nothing that the audit trail tells of
		var told queryError
		if err != nil {
			told = queryErrorOf(err)
		}
		// The answer leaves once there is a record of it.
		if unrecorded := h.service.ConcludeSTS(call, told.code, told.message); unrecorded != nil {
			err = unrecorded
		}
	}
	if err != nil {
		m.code = h.fail(w, r, requestID, err)
		return
	}
	m.code = ""
	respondXML(w, http.StatusOK, answer)
}

// STSOperations are the operations that STS serves.
func STSOperations() []string {
	return []string{"AssumeRole", "AssumeRoleWithWebIdentity", "GetCallerIdentity"}
}

// invoke takes a request to its operation and turns a panic there into an error. The call tells
// afterwards what is known of the request; its Operation is empty if the request names none.
func (h *STS) invoke(w http.ResponseWriter, r *http.Request, call *ops.Call) (answer any, err error) {
	defer func() {
		if p := recover(); p != nil {
			h.log.Error("panic in an operation", "requestId", call.RequestID, "stack", string(debug.Stack()))
			answer, err = nil, kms.KMSInternalException.Err()
		}
	}()
	if err := h.service.Auditable(); err != nil {
		return nil, err
	}
	// Nobody is screened: who assumes a role with a web identity has no access key.
	var body bytes.Buffer
	if err := h.bodies.read(w, r, &body, maxSTSBody, nil); err != nil {
		return nil, tooLargeOrBroken(err)
	}
	q, err := parseQuery(r, body.Bytes())
	if err != nil {
		return nil, err
	}
	action, version := q.get("Action"), q.get("Version")
	if action == "" {
		return nil, &queryError{code: "MissingAction", message: "The request is missing an action.", status: http.StatusBadRequest}
	}
	if version == stsVersion && slices.Contains(STSOperations(), action) {
		call.Operation = action
	}
	if call.Operation == "AssumeRoleWithWebIdentity" {
		assumed, err := h.service.AssumeRoleWithWebIdentity(r.Context(), call, q.webIdentity())
		if err != nil {
			return nil, err
		}
		return webIdentityAnswer(assumed, call.RequestID), nil
	}
	if err := h.authenticator.Authenticate(r, body.Bytes(), call); err != nil {
		call.Claimed, call.Region = asserted(r)
		return nil, err
	}
	switch call.Operation {
	case "GetCallerIdentity":
		return callerIdentityAnswer(h.service.GetCallerIdentity(call), call.RequestID), nil
	case "AssumeRole":
		in, err := q.assumeRole()
		if err != nil {
			return nil, err
		}
		assumed, err := h.service.AssumeRole(r.Context(), call, in)
		if err != nil {
			return nil, err
		}
		return assumeRoleAnswer(assumed, call.RequestID), nil
	}
	if version == "" {
		version = "NO_VERSION_SPECIFIED"
	}
	return nil, &queryError{code: "InvalidAction", message: "Could not find operation " + shortened(action) + " for version " + shortened(version), status: http.StatusBadRequest}
}

func tooLargeOrBroken(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return &queryError{code: "RequestEntityTooLarge", message: "The request body is too large.", status: http.StatusRequestEntityTooLarge}
	}
	if errors.Is(err, errTurn) {
		return &queryError{code: "Throttling", message: "Rate exceeded", status: http.StatusBadRequest}
	}
	return &queryError{code: "MalformedInput", message: "The request body could not be read.", status: http.StatusBadRequest}
}

// queryError is an error of the protocol itself.
type queryError struct {
	code, message string
	status        int
}

func (e *queryError) Error() string { return e.code + ": " + e.message }

// stsRefusals are the codes and texts of the Query protocol for what authentication refuses; a text
// that is empty stays as it is. All have the status 403.
func stsRefusals() map[kms.ErrorCode]queryError {
	return map[kms.ErrorCode]queryError{
		kms.MissingAuthenticationTokenException: {code: "MissingAuthenticationToken", message: "Request is missing Authentication Token"},
		kms.IncompleteSignatureException:        {code: "IncompleteSignature"},
		kms.InvalidSignatureException:           {code: "SignatureDoesNotMatch"},
		kms.UnrecognizedClientException:         {code: "InvalidClientTokenId"},
		kms.ExpiredTokenException:               {code: "ExpiredToken"},
		kms.AccessDeniedException:               {code: "AccessDenied"},
	}
}

// stsStatus is the status of an identity error: 403 for what is not allowed, else 400.
func stsStatus(code ops.IdentityCode) int {
	if code == ops.AccessDenied {
		return http.StatusForbidden
	}
	return http.StatusBadRequest
}

// queryErrorOf gives what a client is told of an error. What is not for clients becomes InternalFailure
// without a cause.
func queryErrorOf(err error) queryError {
	var own *queryError
	if errors.As(err, &own) {
		return *own
	}
	var identity *ops.IdentityError
	if errors.As(err, &identity) {
		return queryError{code: string(identity.Code), message: identity.Message, status: stsStatus(identity.Code)}
	}
	known := kms.AsError(err)
	if refusal, ok := stsRefusals()[known.Code]; ok {
		refusal.status = http.StatusForbidden
		if refusal.message == "" {
			refusal.message = known.Message
		}
		return refusal
	}
	if known.Code == kms.ThrottlingException {
		return queryError{code: "Throttling", message: known.Message, status: http.StatusBadRequest}
	}
	if known.Code == kms.KeyUnavailableException {
		return queryError{code: "ServiceUnavailable", message: "The request has failed due to a temporary failure of the server.", status: http.StatusServiceUnavailable}
	}
	return queryError{code: "InternalFailure", message: "The request processing has failed because of an unknown error, exception or failure.", status: http.StatusInternalServerError}
}

// fail answers with an error and gives its code.
func (h *STS) fail(w http.ResponseWriter, r *http.Request, requestID string, err error) (code string) {
	told := queryErrorOf(err)
	if faulty(r, told.status, err) {
		h.log.Error("request to STS failed", "requestId", requestID, "error", err)
	} else {
		h.log.Debug("request to STS refused", "requestId", requestID, "error", err)
	}
	kind := "Sender"
	if told.status >= http.StatusInternalServerError {
		kind = "Receiver"
	}
	respondXML(w, told.status, errorAnswer{
		Namespace: stsNamespace, Type: kind, Code: told.code, Message: told.message, RequestID: requestID,
	})
	return told.code
}

// respondXML writes an answer. Its texts are escaped, and characters that XML cannot hold replaced.
func respondXML(w http.ResponseWriter, status int, answer any) {
	text, err := xml.MarshalIndent(answer, "", "  ")
	if err != nil { // not with the types below
		text, status = []byte("<ErrorResponse/>"), http.StatusInternalServerError
	}
	header := w.Header()
	header["Content-Type"] = []string{"text/xml"}
	header["Cache-Control"] = []string{"no-store"}
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // a client that has gone does not concern the server
}
