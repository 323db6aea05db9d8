// Package api speaks AWS JSON 1.1 over HTTP: it finds the operation, reads and authenticates the
// request, hands it to package ops and renders the answer or the error. It decides nothing about
// keys.
package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/ops"
	"github.com/kms11/kms11/sigv4"
)

// MaxBody is the largest request body in bytes. The largest valid request is a PutKeyPolicy of
// 131,072 characters, each up to six bytes when escaped.
const MaxBody = 1 << 20

const (
	targetPrefix = "TrentService."
	contentType  = "application/x-amz-json-1.1"
)

// Authenticator says who sent a request, with its body already read.
type Authenticator interface {
	// Screen refuses what Authenticate would refuse with any body, in the same words.
	Screen(r *http.Request) error
	// Authenticate sets Region, Caller and Via of a request's call. On an error it leaves them as they were.
	Authenticate(r *http.Request, body []byte, call *ops.Call) error
}

// Handler serves the KMS API. It is safe for concurrent use.
type Handler struct {
	service       *ops.Service
	authenticator Authenticator
	log           *slog.Logger
	buffers       sync.Pool
	bodies        bodies
	checkup       checkup
	regions       regionCheckups
	meter         Meter
}

// NewHandler makes the handler of the KMS API at "/" and of the health check at "/healthz".
func NewHandler(service *ops.Service, authenticator Authenticator, log *slog.Logger) *Handler {
	return &Handler{
		service:       service,
		authenticator: authenticator,
		log:           log,
		meter:         noMeter{},
		buffers:       sync.Pool{New: func() any { return new(bytes.Buffer) }},
		bodies:        newBodies(),
	}
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/healthz" {
		h.health(w, r)
		return
	}
	m := begin(h.meter)
	defer m.end()
	requestID := kms.NewRequestID()
	w.Header()["X-Amzn-Requestid"] = []string{requestID}
	buffer := h.buffers.Get().(*bytes.Buffer)
	defer h.release(buffer)
	operation, err := h.target(r)
	if err != nil { // no operation: nothing that the audit trail tells of
		m.code = h.fail(w, r, requestID, err)
		return
	}
	m.operation = operation.Name
	call := h.service.Begin(requestID, originOf(r))
	output, err := h.invoke(w, r, operation, call, buffer)
	wipe(buffer) // the request has been decoded; the answer takes its place
	if err == nil {
		encode(buffer, output)
	}
	// The answer leaves once there is a record of it.
	if unrecorded := h.service.Conclude(call, output, err); unrecorded != nil {
		err = unrecorded
	}
	if err != nil {
		m.code = h.fail(w, r, requestID, err)
		return
	}
	m.code = ""
	respond(w, http.StatusOK, buffer.Bytes())
}

// invoke takes a request to its operation and turns a panic there into an error. The call tells
// afterwards what is known of the request.
func (h *Handler) invoke(w http.ResponseWriter, r *http.Request, operation ops.Operation, call *ops.Call, body *bytes.Buffer) (output kms.Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			h.log.Error("panic in an operation", "requestId", call.RequestID, "stack", string(debug.Stack()))
			output, err = nil, kms.KMSInternalException.Err()
		}
	}()
	call.Operation = operation.Name
	if err := h.service.Auditable(); err != nil {
		return nil, err
	}
	if err := h.readBody(w, r, body); err != nil {
		if screened, ok := err.(*screenedError); ok {
			call.Claimed, call.Region = asserted(r)
			return nil, screened.error
		}
		return nil, err
	}
	if err := h.authenticator.Authenticate(r, body.Bytes(), call); err != nil {
		call.Claimed, call.Region = asserted(r)
		return nil, err
	}
	return operation.Invoke(r.Context(), h.service, call, body.Bytes())
}

// asserted gives the access key and the Region that a request names which was not authenticated.
func asserted(r *http.Request) (accessKeyID, region string) {
	authorization, err := sigv4.Parse(r.Header.Get("Authorization"))
	if err != nil {
		return "", ""
	}
	return authorization.AccessKeyID, authorization.Region
}

// originOf is where a request came from. A proxy's word about it is not taken; what a service says of
// whom it acts for is signed.
func originOf(r *http.Request) ops.Origin {
	origin := ops.Origin{
		SourceIP: addressOf(r), UserAgent: r.UserAgent(), Secure: r.TLS != nil,
		SourceARN: r.Header.Get("X-Amz-Source-Arn"), SourceAccount: r.Header.Get("X-Amz-Source-Account"),
	}
	if r.TLS != nil {
		origin.TLS = ops.TLS{
			// CloudTrail writes TLSv1.3 for what Go calls TLS 1.3.
			Version:     strings.Replace(tls.VersionName(r.TLS.Version), " ", "v", 1),
			CipherSuite: tls.CipherSuiteName(r.TLS.CipherSuite),
			Host:        r.Host,
		}
	}
	return origin
}

// addressOf is the IP address that a request came from.
func addressOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// target finds the operation that a request names.
func (h *Handler) target(r *http.Request) (ops.Operation, error) {
	if r.Method != http.MethodPost || r.URL.Path != "/" {
		return ops.Operation{}, kms.UnknownOperationException.Err()
	}
	name, found := strings.CutPrefix(r.Header.Get("X-Amz-Target"), targetPrefix)
	operation, known := h.service.Operation(name)
	if !found || !known || !strings.HasPrefix(r.Header.Get("Content-Type"), contentType) {
		return ops.Operation{}, kms.UnknownOperationException.Err()
	}
	return operation, nil
}

func (h *Handler) readBody(w http.ResponseWriter, r *http.Request, into *bytes.Buffer) error {
	var tooLarge *http.MaxBytesError
	var screened *screenedError
	switch err := h.bodies.read(w, r, into, MaxBody, h.authenticator); {
	case err == nil:
		return nil
	case errors.As(err, &screened):
		return err
	case errors.As(err, &tooLarge):
		return kms.Errorf(kms.RequestEntityTooLargeException, "The request body is larger than %d bytes.", MaxBody)
	case errors.Is(err, errTurn):
		return kms.Errorf(kms.ThrottlingException, "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.").Because(err)
	default:
		return kms.Errorf(kms.SerializationException, "The request body could not be read.").Because(err)
	}
}

func respond(w http.ResponseWriter, status int, body []byte) {
	w.Header()["Content-Type"] = []string{contentType}
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has gone does not concern the server
}

// wipe empties a buffer, which may have held plaintext.
func wipe(buffer *bytes.Buffer) {
	clear(buffer.Bytes())
	buffer.Reset()
}

// release wipes a buffer and keeps it for the next request.
func (h *Handler) release(buffer *bytes.Buffer) {
	wipe(buffer)
	if buffer.Cap() <= 64<<10 {
		h.buffers.Put(buffer)
	}
}

// Healthy says why the server is not healthy, as GET /healthz without a Region finds it.
func (h *Handler) Healthy(ctx context.Context) error { return h.checkup.result(ctx, h.service.Health) }

// ailing are the Regions whose own tokens do not answer.
func (h *Handler) ailing(ctx context.Context) (regions []string) {
	all := h.service.RegionsWithTokens()
	problems := make([]error, len(all))
	var asked sync.WaitGroup
	for i, region := range all {
		asked.Go(func() {
			problems[i] = h.regions.of(region).within(ctx, func(ctx context.Context) error { return h.service.RegionHealth(ctx, region) }, regionPatience)
		})
	}
	asked.Wait()
	for i, err := range problems {
		if err != nil {
			h.log.Warn("unhealthy", "region", all[i], "error", err)
			regions = append(regions, all[i])
		}
	}
	return regions
}

// health answers load balancers: 200 while the token and the store answer, else 503. With the parameter
// region it is about a Region, which may have tokens of its own; without it the body names those Regions
// whose own tokens do not answer, while the others are served.
func (h *Handler) health(w http.ResponseWriter, r *http.Request) {
	status, text := http.StatusOK, "ok\n"
	region := r.URL.Query().Get("region")
	checkup, check := &h.checkup, h.service.Health
	if h.service.HasTokens(region) {
		checkup, check = h.regions.of(region), func(ctx context.Context) error { return h.service.RegionHealth(ctx, region) }
	}
	if region != "" && !h.service.Serves(region) {
		status, text = http.StatusNotFound, "not served\n"
	} else if err := checkup.result(r.Context(), check); err != nil {
		h.log.Warn("unhealthy", "region", region, "error", err)
		status, text = http.StatusServiceUnavailable, "unavailable\n"
	} else if region == "" {
		for _, ailing := range h.ailing(r.Context()) {
			text += ailing + " unavailable\n"
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}
