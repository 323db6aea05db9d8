package api

import (
	"net/http"
	"regexp"

	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/ops"
	"github.com/kms11/kms11/sigv4"
)

// Dev takes every request for one of its account's root user, without checking the signature: for
// development on one machine. An access key id of 12 digits names the account, as users of local
// emulators expect; any other stands for the default account. The Region is the one the request
// was signed for, be it one of AWS's or a name such as "local"; the server's own stands for what no
// Region can be named.
type Dev struct {
	account, region string
}

// NewDev makes the authenticator of dev mode.
func NewDev(account, region string) *Dev { return &Dev{account: account, region: region} }

var (
	accountForm = regexp.MustCompile(`^[0-9]{12}$`)
	scopeRegion = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)
)

// Authenticate implements Authenticator. A request that a browser sent for a web page is refused:
// nothing else would keep a page from using the keys of whoever visits it.
func (d *Dev) Authenticate(r *http.Request, _ []byte, call *ops.Call) error {
	if r.Header.Get("Origin") != "" {
		return kms.Errorf(kms.AccessDeniedException, "Dev mode takes no requests from web pages.")
	}
	header := r.Header.Get("Authorization")
	if header == "" {
		return kms.Errorf(kms.MissingAuthenticationTokenException, "Missing Authentication Token")
	}
	account, region := d.account, d.region
	if authorization, err := sigv4.Parse(header); err == nil {
		if accountForm.MatchString(authorization.AccessKeyID) {
			account = authorization.AccessKeyID
		}
		if scopeRegion.MatchString(authorization.Region) {
			region = authorization.Region
		}
	}
	call.Region, call.Caller = region, ops.RootCaller(kms.PartitionOf(region), account)
	return nil
}

// Screen implements Authenticator. In dev mode everybody is somebody.
func (d *Dev) Screen(*http.Request) error { return nil }

// DevHeader marks every answer of a server in dev mode.
const DevHeader = "X-Kms11-Dev-Mode"

// MarkDev adds DevHeader to every answer of a handler.
func MarkDev(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(DevHeader, "signatures are not checked")
		next.ServeHTTP(w, r)
	})
}
