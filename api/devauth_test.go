package api

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/kms11/kms11/kms"
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
	} {
		call, err := dev.Authenticate(devRequest(c.accessKeyID, c.region), nil)
		if err != nil {
			t.Errorf("%s: %v", c.accessKeyID, err)
			continue
		}
		if call.Caller.Principal.ARN != c.arn || call.Region != c.region {
			t.Errorf("%s in %s: got %s in %s", c.accessKeyID, c.region, call.Caller.Principal.ARN, call.Region)
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
		if _, err := dev.Authenticate(c.request, nil); kms.AsError(err).Code != c.code {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
