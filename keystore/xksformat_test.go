package keystore

import (
	"testing"
	"time"
)

func FuzzXksTenantRecord(f *testing.F)     { fuzzContent(f, xksTenantKind, sampleXksTenant()) }
func FuzzXksKeyRecord(f *testing.F)        { fuzzContent(f, xksKeyKind, sampleXksKey()) }
func FuzzXksCredentialRecord(f *testing.F) { fuzzContent(f, xksCredentialKind, sampleXksCredential()) }

func sampleXksTenant() *XksTenantRecord {
	return &XksTenantRecord{Prefix: "/acme/prod", Created: time.Unix(1_800_000_000, 123), RequestsPerSecond: 1800, Rules: []XksRule{
		{Principals: []string{"arn:aws:iam::111122223333:role/*"}, Operations: []string{"Decrypt"}},
		{KeyARNs: []string{"a"}, SourceVPCs: []string{"b"}, SourceVPCE: []string{"c"}, Services: []string{"d"}, Keys: []string{"e"}},
	}}
}

func sampleXksKey() *XksKeyRecord {
	return &XksKeyRecord{ID: "key.1", Prefix: "/acme/prod", Created: time.Unix(1_800_000_000, 123), Disabled: true, Object: "pkcs11:token=t;object=o"}
}

func sampleXksCredential() *XksCredentialRecord {
	return &XksCredentialRecord{AccessKeyID: "ABCDEFGHIJKLMNOPQRSTUVWX", Prefix: "/acme/prod", SealedSecret: []byte{1, 2}, Created: time.Unix(1_800_000_000, 123)}
}

// TestFormatOfXksRecords pins what docs/formats.md says.
func TestFormatOfXksRecords(t *testing.T) {
	const created = `"created":"2027-01-15T08:00:00.000000123Z"`
	for _, c := range []struct{ got, want string }{
		{sampleXksTenant().place().String(), "-/-/-/xks-tenant/%2Facme%2Fprod"},
		{(&XksTenantRecord{Prefix: "/"}).place().String(), "-/-/-/xks-tenant/%2F"},
		{encoded(t, xksTenantKind, sampleXksTenant()), `{"prefix":"/acme/prod",` + created + `,"requestsPerSecond":1800,"rules":[` +
			`{"principals":["arn:aws:iam::111122223333:role/*"],"kmsOperations":["Decrypt"]},` +
			`{"kmsKeyArns":["a"],"sourceVpcs":["b"],"sourceVpces":["c"],"viaServices":["d"],"keys":["e"]}]}`},
		{sampleXksKey().place().String(), "-/-/-/xks-key/key.1"},
		{encoded(t, xksKeyKind, sampleXksKey()), `{"id":"key.1","prefix":"/acme/prod",` + created + `,"disabled":true,"object":"pkcs11:token=t;object=o"}`},
		{sampleXksCredential().place().String(), "-/-/-/xks-credential/ABCDEFGHIJKLMNOPQRSTUVWX"},
		{encoded(t, xksCredentialKind, sampleXksCredential()), `{"accessKeyId":"ABCDEFGHIJKLMNOPQRSTUVWX","prefix":"/acme/prod","sealedSecret":"AQI=",` + created + `}`},
	} {
		if c.got != c.want {
			t.Errorf("got  %s\nwant %s", c.got, c.want)
		}
	}
	if xksTenantKind.code != 23 || xksKeyKind.code != 24 || xksCredentialKind.code != 25 {
		t.Errorf("the codes are %d, %d and %d", xksTenantKind.code, xksKeyKind.code, xksCredentialKind.code)
	}
}

func TestXksRecordsThatAreRefused(t *testing.T) {
	for name, err := range map[string]error{
		"a prefix without a slash": refused(xksTenantKind, sampleXksTenant(), func(r *XksTenantRecord) { r.Prefix = "acme" }),
		"a negative rate":          refused(xksTenantKind, sampleXksTenant(), func(r *XksTenantRecord) { r.RequestsPerSecond = -1 }),
		"an empty pattern":         refused(xksTenantKind, sampleXksTenant(), func(r *XksTenantRecord) { r.Rules[0].Principals = []string{""} }),
		"no key":                   refused(xksKeyKind, sampleXksKey(), func(r *XksKeyRecord) { r.Object = "" }),
		"two keys":                 refused(xksKeyKind, sampleXksKey(), func(r *XksKeyRecord) { r.KeyARN = "arn" }),
		"no secret":                refused(xksCredentialKind, sampleXksCredential(), func(r *XksCredentialRecord) { r.SealedSecret = nil }),
	} {
		if err == nil {
			t.Errorf("%s is written", name)
		}
	}
}

func refused[T any](k kind[T], record *T, change func(*T)) error {
	change(record)
	_, err := k.encode(record)
	return err
}
