package sigv4

import (
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

const (
	hostHeader      = "host"
	authorityHeader = ":authority"
)

// mustBeSigned are the headers, beside Host, that decide what a request means and are not
// bound to it in another way; each must be in SignedHeaders when it is in the request.
var mustBeSigned = [...]struct{ canonical, lower string }{
	{"X-Amz-Target", "x-amz-target"},
	{"X-Amz-Source-Account", "x-amz-source-account"},
	{"X-Amz-Source-Arn", "x-amz-source-arn"},
}

// headerKeys spares textproto an allocation for the names that SDKs really sign.
var headerKeys = map[string]string{
	"amz-sdk-invocation-id": "Amz-Sdk-Invocation-Id",
	"amz-sdk-request":       "Amz-Sdk-Request",
	"content-type":          "Content-Type",
	"x-amz-content-sha256":  "X-Amz-Content-Sha256",
	"x-amz-date":            "X-Amz-Date",
	"x-amz-security-token":  "X-Amz-Security-Token",
	"x-amz-target":          "X-Amz-Target",
	"x-amz-user-agent":      "X-Amz-User-Agent",
}

// appendCanonicalRequest appends the canonical request of r. signedHeaders has been checked by
// headerList; payloadHash is the lower-case hex SHA-256 of the body.
func appendCanonicalRequest(dst []byte, r *http.Request, signedHeaders string, payloadHash []byte) []byte {
	dst = append(dst, r.Method...)
	dst = append(dst, '\n')
	path, query := target(r)
	dst = appendPath(dst, path)
	dst = append(dst, '\n')
	dst = appendQuery(dst, query)
	dst = append(dst, '\n')
	for name := range strings.SplitSeq(signedHeaders, ";") {
		dst = append(dst, name...)
		dst = append(dst, ':')
		dst = appendHeader(dst, r, name)
		dst = append(dst, '\n')
	}
	dst = append(dst, '\n')
	dst = append(dst, signedHeaders...)
	dst = append(dst, '\n')
	return append(dst, payloadHash...)
}

// appendHeader appends the canonical value of a header. net/http moves some headers out of the
// header map of a server's request; they are taken from where it puts them.
func appendHeader(dst []byte, r *http.Request, name string) []byte {
	if name == hostHeader || name == authorityHeader {
		return appendFolded(dst, requestHost(r))
	}
	key, ok := headerKeys[name]
	if !ok {
		key = textproto.CanonicalMIMEHeaderKey(name)
	}
	values := r.Header[key]
	if len(values) == 0 {
		switch name {
		case "content-length":
			if r.ContentLength >= 0 {
				dst = strconv.AppendInt(dst, r.ContentLength, 10)
			}
			return dst
		case "transfer-encoding":
			values = r.TransferEncoding
		}
	}
	for i, value := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendFolded(dst, value)
	}
	return dst
}

// requestHost is the Host header as received, or as net/http's client will send it.
func requestHost(r *http.Request) string {
	if r.Host == "" && r.URL != nil {
		return r.URL.Host
	}
	return r.Host
}

// appendFolded appends s without spaces at its ends and with every run of spaces as one.
func appendFolded(dst []byte, s string) []byte {
	s = strings.Trim(s, " \t")
	for {
		i := strings.Index(s, "  ")
		if i < 0 {
			return append(dst, s...)
		}
		dst = append(dst, s[:i+1]...)
		s = strings.TrimLeft(s[i:], " ")
	}
}
