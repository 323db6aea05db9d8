package xks

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/kms11/kms11/ops"
	"github.com/kms11/kms11/sigv4"
)

// HandlerConfig is what a Handler needs. Proxy and Logger are required.
type HandlerConfig struct {
	Proxy  *ops.Proxy
	Logger *slog.Logger
	// Requests gets the line of each request; nil: Logger.
	Requests *slog.Logger
	// Files are credentials beside those of the keystore; nil: none.
	Files *CredentialFiles
	// Version is this program's, for GetHealthStatus.
	Version string
	// FleetSize is how many proxies there are behind the endpoint; 0: 1.
	FleetSize int
	// Timeout bounds the wait for a token in one request; 0: DefaultTimeout, after which AWS KMS
	// does not wait for the answer any more.
	Timeout time.Duration
	// Meter counts the requests; nil: nobody does.
	Meter Meter
	// Now is the clock of signatures and rates; nil: time.Now.
	Now func() time.Time
}

// A Handler is an external key store proxy over HTTP: the four operations below the URI paths of
// its tenants, and GET /healthz for load balancers. It is safe for concurrent use.
type Handler struct {
	proxy    *ops.Proxy
	log      *slog.Logger
	requests *slog.Logger
	files    *CredentialFiles
	timeout  time.Duration
	now      func() time.Time
	verifier *sigv4.Verifier
	health   healthCheck
	buffers  sync.Pool
	meter    Meter
}

// NewHandler makes a proxy.
func NewHandler(c HandlerConfig) *Handler {
	h := &Handler{proxy: c.Proxy, log: c.Logger, requests: cmp.Or(c.Requests, c.Logger), files: c.Files, timeout: c.Timeout, now: c.Now, meter: c.Meter}
	if h.timeout == 0 {
		h.timeout = DefaultTimeout
	}
	if h.now == nil {
		h.now = time.Now
	}
	if h.meter == nil {
		h.meter = noMeter{}
	}
	h.buffers.New = func() any { return new(bytes.Buffer) }
	h.verifier = sigv4.NewVerifier(sigv4.Config{
		Service:  ServiceName,
		RegionOK: func(string) bool { return true }, // it is that of the calling KMS
		Lookup:   h.credential,
		Now:      h.now,
	})
	h.health = healthCheck{fleet: c.Proxy.Fleet, version: c.Version, size: max(c.FleetSize, 1)}
	return h
}

// HealthPath is where load balancers ask.
const HealthPath = "/healthz"

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == HealthPath {
		h.ServeHealth(w, r)
		return
	}
	begun := h.now()
	h.meter.Begin()
	counted := meterReading{meter: h.meter, began: time.Now(), code: InternalException}
	defer counted.end()
	e := exchange{handler: h, r: r, call: h.proxy.Begin(originOf(r))}
	buffer := h.buffers.Get().(*bytes.Buffer)
	defer h.release(buffer)
	answer, err := e.run(w, buffer)
	status := http.StatusOK
	var known *Error
	if err != nil {
		known = e.known(err)
		status, answer = known.HTTPStatus, errorAnswer(known)
	}
	// The answer leaves once there is a record of it.
	if unrecorded := e.conclude(known); unrecorded != nil {
		clear(answer)
		err = unrecorded
		known = e.known(err)
		status, answer = known.HTTPStatus, errorAnswer(known)
	}
	counted.outcome(&e, known)
	if status == http.StatusMethodNotAllowed {
		w.Header()["Allow"] = []string{http.MethodPost}
	}
	w.Header()["Content-Type"] = contentType
	w.WriteHeader(status)
	_, _ = w.Write(answer) // a client that has gone does not concern the server
	clear(answer)
	e.log(status, known, err, h.now().Sub(begun))
}

// release wipes a buffer, which held plaintext, and keeps it for the next request.
func (h *Handler) release(buffer *bytes.Buffer) {
	clear(buffer.Bytes())
	buffer.Reset()
	if buffer.Cap() <= maxBody {
		h.buffers.Put(buffer)
	}
}

// An exchange is one request on its way.
type exchange struct {
	handler *Handler
	r       *http.Request
	target  target
	found   bool // the URI is one of the API's
	signer  sigv4.Result
	// admitted: the signature is by an access key of the tenant.
	admitted bool
	request  *request
	key      *ops.ProxyKey // nil until it is found
	call     *ops.Call
}

// contentType is that of every answer. Nothing writes to it.
var contentType = []string{"application/json"}

var errMethod = &Error{HTTPStatus: http.StatusMethodNotAllowed, Name: ValidationException, Message: "The operations of this API are POST requests."}

// run takes a request to its answer. The order of refusals is: URI, method, signature, rate, body, rules, key.
func (e *exchange) run(w http.ResponseWriter, body *bytes.Buffer) (answer []byte, err error) {
	h := e.handler
	defer func() {
		if p := recover(); p != nil {
			h.log.Error("panic in an operation", "stack", string(debug.Stack()))
			answer, err = nil, failure(InternalException, "")
		}
	}()
	if e.target, e.found = targetOf(e.r); !e.found {
		return nil, failure(InvalidUriPathException, "The URI is not one of the API's.")
	}
	if e.r.Method != http.MethodPost {
		return nil, errMethod
	}
	if err := h.proxy.Ready(); err != nil && e.target.operation != opHealth {
		return nil, err
	}
	ctx := newBounded(e.r.Context(), h.timeout)
	defer ctx.end()
	tenant, err := h.proxy.Tenant(ctx, e.target.prefix)
	if err != nil {
		return nil, err
	}
	if e.r.ContentLength < 0 || e.r.ContentLength > freeBody && e.r.ContentLength <= maxBody {
		if err := e.screen(); err != nil {
			return nil, err
		}
	}
	if err := readBody(w, e.r, body); err != nil {
		return nil, err
	}
	if err := e.authenticate(body.Bytes()); err != nil {
		return nil, err
	}
	if !tenant.Admit(h.now()) {
		return nil, failure(ThrottlingException, "The rate of this URI path is exceeded.")
	}
	var keyErr error
	if e.target.operation != opHealth { // before the body is judged, so that the audit trail names the key
		e.key, keyErr = h.proxy.Key(ctx, tenant.Prefix, e.target.keyID)
	}
	e.request, err = parse(e.target.operation, body.Bytes())
	defer e.request.wipe()
	if err != nil {
		return nil, err
	}
	if e.target.operation == opHealth { // which no rule may deny
		return h.health.answer(ctx)
	}
	asked := e.asked()
	if !tenant.Allows(&asked) {
		return nil, failure(AccessDeniedException, "No rule of the proxy allows the request.")
	}
	if keyErr != nil {
		return nil, keyErr
	}
	return e.request.do(ctx, e.target.operation, e.key, e.call.EventID)
}

// asked is what the tenant's rules and the audit trail look at.
func (e *exchange) asked() ops.ProxyRequest {
	asked := ops.ProxyRequest{Key: e.target.keyID}
	if e.request == nil || e.request.Metadata == nil {
		return asked
	}
	m := e.request.Metadata
	asked.PrincipalARN, asked.KeyARN, asked.Operation = m.PrincipalARN, m.KeyARN, m.Operation
	asked.SourceVPC, asked.SourceVPCE, asked.ViaService = m.SourceVPC, m.SourceVPCE, m.ViaService
	return asked
}

func readBody(w http.ResponseWriter, r *http.Request, into *bytes.Buffer) error {
	if r.ContentLength > maxBody {
		return tooLong("The request body", maxBody)
	}
	if n := r.ContentLength; n >= 0 { // as AWS KMS sends it
		into.Grow(int(n))
		content := into.AvailableBuffer()[:n]
		if _, err := io.ReadFull(r.Body, content); err != nil {
			clear(content)
			return errBody()
		}
		into.Write(content)
		return nil
	}
	if _, err := into.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return tooLong("The request body", maxBody)
		}
		return errBody()
	}
	return nil
}

func errBody() *Error { return failure(ValidationException, "The request body could not be read.") }

// meanings are the errors of package ops in the specification's names.
func meanings() []meaning {
	return []meaning{
		{ops.ErrNoTenant, InvalidUriPathException, "The URI path is not one of this proxy's."},
		{ops.ErrNoExternalKey, KeyNotFoundException, "The external key does not exist."},
		{ops.ErrExternalKeyState, InvalidStateException, "The external key is not enabled."},
		{ops.ErrExternalKeyUsage, InvalidKeyUsageException, "The external key does not support the operation."},
		{ops.ErrExternalText, InvalidCiphertextException, "The ciphertext, its metadata or the additional authenticated data are not what the external key made."},
		{ops.ErrKeyManagerDown, InternalException, "The key manager does not answer."},
		{context.DeadlineExceeded, DependencyTimeoutException, "The key manager did not answer in time."},
	}
}

type meaning struct {
	is            error
	name, message string
}

// known is what a client gets for an error. What is not known to be for clients has no text.
func (e *exchange) known(err error) *Error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	for _, m := range meanings() {
		if errors.Is(err, m.is) {
			return failure(m.name, m.message)
		}
	}
	return failure(InternalException, "")
}
