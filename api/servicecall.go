package api

import (
	"net/http"
	"strings"

	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/ops"
	"github.com/kms11/kms11/sigv4"
)

// The headers in which a service says for whom it sends a request. AWS's services have the two of the
// source in their calls to each other; how they hand on a principal is not public.
const (
	sourceARNHeader     = "X-Amz-Source-Arn"
	sourceAccountHeader = "X-Amz-Source-Account"
	behalfHeader        = "X-Kms11-On-Behalf-Of"
)

// claimed reads what a service's request says about whom it is for. What its signature does not
// cover could be anybody's word and is refused.
func claimed(r *http.Request) (ops.ServiceClaim, error) {
	signed, err := sigv4.Parse(r.Header.Get("Authorization"))
	if err != nil {
		return ops.ServiceClaim{}, err
	}
	value := func(header string) string {
		values := r.Header.Values(header)
		switch {
		case len(values) == 0:
			return ""
		case len(values) > 1 || !signed.Signs(strings.ToLower(header)):
			err = kms.Errorf(kms.IncompleteSignatureException, "The header %s must be given once and be signed.", header)
		}
		return values[0]
	}
	claim := ops.ServiceClaim{Behalf: value(behalfHeader), SourceARN: value(sourceARNHeader), SourceAccount: value(sourceAccountHeader)}
	return claim, err
}
