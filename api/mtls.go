package api

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net/http"
	"regexp"
	"time"

	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/ops"
)

// A CertificateRule says whom the certificates that it fits stand for. Of the conditions exactly one
// is set.
type CertificateRule struct {
	URI         string // a URI among the subject's alternative names, such as a SPIFFE id
	DNS         string // a DNS name among them
	CommonName  string // of the subject
	Fingerprint string // SHA-256 of the certificate, 64 lower-case hex digits

	Principal string // ARN of a user or a role
}

func (rule *CertificateRule) fits(c *x509.Certificate) bool {
	switch {
	case rule.Fingerprint != "":
		return fingerprintOf(c) == rule.Fingerprint
	case rule.URI != "":
		for _, uri := range c.URIs {
			if uri.String() == rule.URI {
				return true
			}
		}
	case rule.DNS != "":
		for _, name := range c.DNSNames {
			if name == rule.DNS {
				return true
			}
		}
	case rule.CommonName != "":
		return c.Subject.CommonName == rule.CommonName
	}
	return false
}

func fingerprintOf(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// Certificates authenticates requests without a signature by the client certificate of their
// connection, which TLS has verified. A request with a signature is judged by it alone, whatever
// certificate came with it.
type Certificates struct {
	rules  []CertificateRule
	region string
	caller func(ctx context.Context, arn, session string) (*ops.Caller, error)
	now    func() time.Time
	signed Authenticator
}

// NewCertificates makes an authenticator for client certificates before another one for requests that
// are signed. Requests of certificates are for the Region; the first rule that fits counts.
func NewCertificates(service *ops.Service, region string, rules []CertificateRule, signed Authenticator) *Certificates {
	return &Certificates{rules: rules, region: region, caller: service.MappedCaller, now: service.Now, signed: signed}
}

// Screen implements Authenticator. Who has a certificate that TLS has verified passes.
func (c *Certificates) Screen(r *http.Request) error {
	if c.byCertificate(r) {
		return nil
	}
	return c.signed.Screen(r)
}

// byCertificate says whether a request is judged by its certificate.
func (c *Certificates) byCertificate(r *http.Request) bool {
	return len(r.Header["Authorization"]) == 0 && r.TLS != nil && len(r.TLS.VerifiedChains) > 0
}

// Authenticate implements Authenticator. A request that a browser sent for a web page is refused: the
// browser adds its user's certificate to requests of any page.
func (c *Certificates) Authenticate(r *http.Request, body []byte, call *ops.Call) error {
	if !c.byCertificate(r) {
		return c.signed.Authenticate(r, body, call)
	}
	if r.Header.Get("Origin") != "" {
		return kms.Errorf(kms.AccessDeniedException, "Client certificates are not taken from web pages.")
	}
	certificate := r.TLS.PeerCertificates[0]
	if now := c.now(); now.After(certificate.NotAfter) || now.Before(certificate.NotBefore) {
		// It was good when the connection began.
		return kms.Errorf(kms.UnrecognizedClientException, "The client certificate has expired.")
	}
	for i := range c.rules {
		if !c.rules[i].fits(certificate) {
			continue
		}
		caller, err := c.caller(r.Context(), c.rules[i].Principal, sessionName(certificate))
		if errors.Is(err, ops.NoSuchEntity) {
			return kms.Errorf(kms.UnrecognizedClientException, "The client certificate stands for a principal that does not exist.").Because(errors.New(err.Error()))
		}
		if err != nil {
			return err
		}
		call.Region, call.Caller = c.region, caller
		return nil
	}
	return c.signed.Authenticate(r, body, call) // which says that there is no signature
}

// sessionForm is what a session of a role can be named.
var sessionForm = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)

// sessionName names the session of a role that a certificate stands for: by the subject's common name
// if that can be a session's, else by the certificate's fingerprint.
func sessionName(c *x509.Certificate) string {
	if sessionForm.MatchString(c.Subject.CommonName) {
		return c.Subject.CommonName
	}
	return fingerprintOf(c)
}
