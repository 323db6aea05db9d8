package xks

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"

	"github.com/kms11/kms11/ops"
	"github.com/kms11/kms11/sigv4"
)

// eventNames are the names of the operations in the audit trail. GetHealthStatus, which is about no
// key and which AWS KMS asks all the time, has none. Nothing writes to it.
var eventNames = map[operation]string{
	opMetadata: "GetKeyMetadata",
	opEncrypt:  "Encrypt",
	opDecrypt:  "Decrypt",
}

// conclude records the request, known being its failure or nil, if it is one that the trail tells of.
func (e *exchange) conclude(known *Error) error {
	name, told := eventNames[e.target.operation]
	if !e.found || !told || e.r.Method != http.MethodPost {
		return nil
	}
	event := ops.ProxyEvent{
		Operation: name, Prefix: e.target.prefix,
		AccessKeyID: e.signer.AccessKeyID, Authenticated: e.admitted, Region: e.signer.Region,
		Request: e.asked(), Key: e.key,
	}
	if !e.admitted {
		event.AccessKeyID = e.claimed()
	}
	if e.request != nil && e.request.Metadata != nil {
		event.KMSRequestID = e.request.Metadata.RequestID
	}
	code, message := "", ""
	if known != nil {
		code, message = known.Name, known.Message
	}
	return e.handler.proxy.Conclude(e.call, &event, code, message)
}

// claimed is the access key that a request says it is signed with; "" if it names none.
func (e *exchange) claimed() string {
	claimed, err := sigv4.Parse(e.r.Header.Get("Authorization"))
	if err != nil {
		return ""
	}
	return claimed.AccessKeyID
}

// originOf is where a request came from.
func originOf(r *http.Request) ops.Origin {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	origin := ops.Origin{SourceIP: host, UserAgent: r.UserAgent(), Secure: r.TLS != nil}
	if r.TLS != nil {
		origin.TLS = ops.TLS{
			Version:     strings.Replace(tls.VersionName(r.TLS.Version), " ", "v", 1),
			CipherSuite: tls.CipherSuiteName(r.TLS.CipherSuite),
			Host:        r.Host,
		}
	}
	return origin
}
