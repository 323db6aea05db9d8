package sigv4

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Sign signs a client's request in place. It sets X-Amz-Date, X-Amz-Security-Token if the
// credential has one, and Authorization, each in place of what was there. It signs Host,
// Content-Type and every X-Amz-* header that is set, and body, which must be what r's body will
// give. It signs one request: a caller with thousands a second keeps no state between them.
//
// It refuses an access key ID, secret, Region or service that is empty or holds what the header
// cannot carry, and a request without a host.
func Sign(r *http.Request, body []byte, accessKeyID string, c Credential, region, service string, now time.Time) error {
	for _, part := range [...]string{accessKeyID, region, service} {
		if part == "" || strings.ContainsAny(part, "/, \t\r\n") {
			return errors.New("sigv4: access key ID, Region and service must be set and free of separators")
		}
	}
	if c.Secret == "" {
		return errors.New("sigv4: no secret access key")
	}
	if requestHost(r) == "" {
		return errors.New("sigv4: the request has no host")
	}
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	timestamp := now.UTC().Format(basicFormat)
	r.Header.Set("X-Amz-Date", timestamp)
	r.Header.Del("X-Amz-Security-Token")
	if c.SessionToken != "" {
		r.Header.Set("X-Amz-Security-Token", c.SessionToken)
	}

	names := []string{hostHeader}
	for key := range r.Header {
		if name := strings.ToLower(key); name == "content-type" || strings.HasPrefix(name, "x-amz-") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	signedHeaders := strings.Join(slices.Compact(names), ";")

	date := timestamp[:len("20060102")]
	bodyHash := hexSHA256(body)
	buf := appendCanonicalRequest(nil, r, signedHeaders, bodyHash[:])
	requestHash := hexSHA256(buf)
	buf = appendStringToSign(buf[:0], timestamp, date, region, service, requestHash[:])
	signature := newSigningKey(c.Secret, date, region, service).sign(buf)

	r.Header.Set("Authorization", algorithm+" Credential="+accessKeyID+"/"+string(appendScope(nil, date, region, service))+
		", SignedHeaders="+signedHeaders+", Signature="+string(signature[:]))
	return nil
}
