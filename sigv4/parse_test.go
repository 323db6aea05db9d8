package sigv4_test

import (
	"testing"

	"github.com/kms11/kms11/sigv4"
)

func TestParse(t *testing.T) {
	want := sigv4.Authorization{
		AccessKeyID: "AKIDEXAMPLE", Date: "20150830", Region: "us-east-1", Service: "kms", Terminator: "aws4_request",
		SignedHeaders: "host;x-amz-date", Signature: "abc",
	}
	const credential = "Credential=AKIDEXAMPLE/20150830/us-east-1/kms/aws4_request"
	for _, header := range []string{
		"AWS4-HMAC-SHA256 " + credential + ", SignedHeaders=host;x-amz-date, Signature=abc",
		"AWS4-HMAC-SHA256 " + credential + ",SignedHeaders=host;x-amz-date,Signature=abc",
		"AWS4-HMAC-SHA256 Signature=abc SignedHeaders=host;x-amz-date " + credential,
		"AWS4-HMAC-SHA256   Signature=abc ,,\tSignedHeaders=host;x-amz-date, Later=x, " + credential + ",",
	} {
		got, err := sigv4.Parse(header)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", header, got, err)
		}
	}
	if !want.Signs("host") || !want.Signs("x-amz-date") || want.Signs("x-amz") || want.Signs("") {
		t.Error("Signs is wrong")
	}
}
