package sigv4

import "strings"

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"

	// maxAuthorization bounds the Authorization header, in bytes. The longest that an SDK sends
	// for KMS is under 500.
	maxAuthorization = 4096
	// maxAccessKeyID is IAM's limit for an access key ID, in characters.
	maxAccessKeyID = 128
)

// Authorization is an Authorization header taken apart. The strings are parts of the header.
type Authorization struct {
	AccessKeyID string // 1 to 128 bytes
	Date        string // of the credential scope, YYYYMMDD
	Region      string
	Service     string
	Terminator  string // "aws4_request" in every valid header

	// SignedHeaders is the list as sent: lower-case names, strictly ascending, joined by ";".
	SignedHeaders string
	// Signature is lower-case hex in every valid header; Parse does not look inside.
	Signature string
}

// Parse takes apart the value of an Authorization header of at most 4096 bytes. It checks form
// only: not the scope, not the signature. Parameters may be separated by commas, spaces or both,
// as AWS accepts them; unknown parameters are ignored, repeated ones refused.
//
// Every error is an [*Error] of kind MissingAuthenticationToken (no SigV4 header) or
// IncompleteSignature.
func Parse(header string) (Authorization, error) {
	p, err := scan(header)
	if err != nil {
		return Authorization{}, err
	}
	if missing := p.missing(); missing != "" {
		return Authorization{}, lacking(missing, header)
	}
	return p.authorization()
}

// params are the raw parameters of a header, "" for one that is not there.
type params struct{ algorithm, credential, signedHeaders, signature string }

// scan splits a header into its parameters.
func scan(header string) (params, error) {
	if !strings.HasPrefix(header, "AWS4-") {
		return params{}, refuse(MissingAuthenticationToken, textMissing)
	}
	if len(header) > maxAuthorization {
		return params{}, refuse(IncompleteSignature, "Authorization header is too long.")
	}
	var p params
	var rest string
	p.algorithm, rest = nextField(header)
	for rest != "" {
		var field string
		if field, rest = nextField(rest); field == "" {
			continue
		}
		name, value, ok := strings.Cut(field, "=")
		if !ok {
			return params{}, refuse(IncompleteSignature, "Invalid key=value pair (missing equal-sign) in Authorization header "+
				"(hashed with SHA-256 and encoded with Base64): '"+fingerprint(header)+"'.")
		}
		var slot *string
		switch name {
		case "Credential":
			slot = &p.credential
		case "SignedHeaders":
			slot = &p.signedHeaders
		case "Signature":
			slot = &p.signature
		default:
			continue
		}
		if *slot != "" {
			return params{}, refuse(IncompleteSignature, "Authorization header has more than one '"+name+"' parameter.")
		}
		*slot = value
	}
	return p, nil
}

// nextField cuts s at the first comma or white space.
func nextField(s string) (field, rest string) {
	for i := range len(s) {
		if c := s[i]; c == ',' || c == ' ' || c == '\t' {
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// missing lists the parameters that are not there, in AWS's words and order.
func (p *params) missing() string {
	var text string
	for _, param := range [...]struct{ name, value string }{
		{"Credential", p.credential}, {"Signature", p.signature}, {"SignedHeaders", p.signedHeaders},
	} {
		if param.value == "" {
			text += "Authorization header requires '" + param.name + "' parameter. "
		}
	}
	return text
}

// lacking is the refusal of a header that lacks what the text missing says.
func lacking(missing, header string) error {
	return refuse(IncompleteSignature, missing+"(Hashed with SHA-256 and encoded with Base64) Authorization="+fingerprint(header))
}

// authorization checks the form of the parameters.
func (p *params) authorization() (Authorization, error) {
	if p.algorithm != algorithm {
		return Authorization{}, refuse(IncompleteSignature,
			"Unsupported AWS 'algorithm': '"+shown(p.algorithm)+"' (only "+algorithm+" for now). ")
	}
	a := Authorization{SignedHeaders: p.signedHeaders, Signature: p.signature}
	rest := p.credential
	for _, part := range [...]*string{&a.AccessKeyID, &a.Date, &a.Region, &a.Service} {
		var ok bool
		if *part, rest, ok = strings.Cut(rest, "/"); !ok {
			return Authorization{}, badCredential()
		}
	}
	a.Terminator = rest
	if a.AccessKeyID == "" || len(a.AccessKeyID) > maxAccessKeyID || strings.Contains(rest, "/") {
		return Authorization{}, badCredential()
	}
	if !headerList(a.SignedHeaders) {
		return Authorization{}, refuse(IncompleteSignature,
			"'SignedHeaders' must be lower-case header names in ascending order, each once, joined by ';'.")
	}
	return a, nil
}

func badCredential() error {
	return refuse(IncompleteSignature,
		"Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term.")
}

// Signs reports whether the lower-case header name is in SignedHeaders.
func (a *Authorization) Signs(name string) bool {
	for have := range strings.SplitSeq(a.SignedHeaders, ";") {
		if have == name {
			return true
		}
	}
	return false
}

// headerList reports whether list is what a signer makes of a set of header names. Strict
// ascent excludes repeats, which would let one list be read in two ways.
func headerList(list string) bool {
	last := ""
	for name := range strings.SplitSeq(list, ";") {
		if name <= last || !headerName(name) {
			return false
		}
		last = name
	}
	return true
}

// headerName reports whether s is a lower-case RFC 9110 token, or HTTP/2's name for Host.
func headerName(s string) bool {
	if s == authorityHeader {
		return true
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}
