package api

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/ops"
)

func devRequest(accessKeyID, region string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+accessKeyID+"/20260301/"+region+
		"/kms/aws4_request, SignedHeaders=host;x-amz-date, Signature=0000000000000000000000000000000000000000000000000000000000000000")
	return r
}

func TestDevNamesTheAccount(t *testing.T) {
	dev := NewDev("000000000000", "us-east-1")
	for _, c := range []struct{ accessKeyID, region, arn string }{
		{"AKIAIOSFODNN7EXAMPLE", "us-east-1", "arn:aws:iam::000000000000:root"},
		{"123456789012", "eu-west-1", "arn:aws:iam::123456789012:root"},
		{"1234567890123", "eu-west-1", "arn:aws:iam::000000000000:root"},
		{"test", "cn-north-1", "arn:aws-cn:iam::000000000000:root"},
		{"test", "mars-1", "arn:aws:iam::000000000000:root"},
		{"test", "local", "arn:aws:iam::000000000000:root"},
		{"test", "us-east-1a", "arn:aws:iam::000000000000:root"},
	} {
		var call ops.Call
		if err := dev.Authenticate(devRequest(c.accessKeyID, c.region), nil, &call); err != nil {
			t.Errorf("%s: %v", c.accessKeyID, err)
			continue
		}
		if call.Caller.Principal.ARN != c.arn || call.Region != c.region {
			t.Errorf("%s in %s: got %s in %s", c.accessKeyID, c.region, call.Caller.Principal.ARN, call.Region)
		}
	}
}

// TestDevRegion: what cannot name a Region stands for the server's own.
func TestDevRegion(t *testing.T) {
	dev := NewDev("000000000000", "eu-west-1")
	for _, region := range []string{"", "Local", "a_b", "a:b", strings.Repeat("a", 33)} {
		var call ops.Call
		if err := dev.Authenticate(devRequest("test", region), nil, &call); err != nil || call.Region != "eu-west-1" {
			t.Errorf("%q: got Region %q, %v", region, call.Region, err)
		}
	}
}

func TestDevRefuses(t *testing.T) {
	dev := NewDev("000000000000", "us-east-1")
	fromPage := devRequest("test", "us-east-1")
	fromPage.Header.Set("Origin", "https://example.com")
	for name, c := range map[string]struct {
		request *http.Request
		code    kms.ErrorCode
	}{
		"a web page":         {fromPage, kms.AccessDeniedException},
		"an unsigned caller": {httptest.NewRequest(http.MethodPost, "/", nil), kms.MissingAuthenticationTokenException},
	} {
		var call ops.Call
		if err := dev.Authenticate(c.request, nil, &call); kms.AsError(err).Code != c.code || call.Caller != nil {
			t.Errorf("%s: got %v, as %v", name, err, call.Caller)
		}
	}
}
