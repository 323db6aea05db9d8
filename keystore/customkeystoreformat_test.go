package keystore

import (
	"testing"
	"time"

	"github.com/kms11/kms11/kms"
)

func FuzzCustomKeyStoreRecord(f *testing.F) {
	fuzzContent(f, customKeyStoreKind, sampleCloudHSM())
}

func sampleCloudHSM() *CustomKeyStoreRecord {
	at := time.Unix(1_800_000_000, 123)
	return &CustomKeyStoreRecord{
		Partition: "aws", Account: "111122223333", Region: "us-east-1", ID: "cks-1", Name: "n", Type: kms.CustomKeyStoreTypeAwsCloudhsm, Created: at,
		State: kms.ConnectionStateTypeFailed, ErrorCode: kms.ConnectionErrorCodeTypeInvalidCredentials, Generation: 2,
		CloudHSM: &CloudHSMRecord{ClusterID: "cluster-a", TrustAnchor: "PEM", SealedPassword: []byte{1}, Verified: true, Trying: at,
			Refused: kms.ConnectionErrorCodeTypeInvalidCredentials, Anchored: true},
	}
}

func sampleExternal() *CustomKeyStoreRecord {
	r := sampleCloudHSM()
	r.Type, r.CloudHSM, r.State, r.ErrorCode = kms.CustomKeyStoreTypeExternalKeyStore, nil, kms.ConnectionStateTypeConnected, ""
	r.External = &ExternalRecord{Connectivity: kms.XksProxyConnectivityTypeVpcEndpointService, Endpoint: "https://e", Path: "/kms/xks/v1",
		VPCEndpointServiceName: "s", VPCEndpointServiceOwner: "o", AccessKeyID: "a", SealedSecret: []byte{2}}
	return r
}

// TestFormatOfACustomKeyStore pins what docs/formats.md says of a store and of what is in it.
func TestFormatOfACustomKeyStore(t *testing.T) {
	key := sampleKey()
	key.CustomKeyStoreID, key.XksKeyID = "cks-1", "x.1"
	stored := key.stored()
	resident := sampleKey()
	resident.CustomKeyStoreID, resident.XksKeyID = "cks-1", ""
	orphan := &KeyStoreOrphanRecord{Partition: "aws", Account: "1", Region: "r", CustomKeyStoreID: "cks-1", KeyID: "k",
		Material: kms.Material{ID: "ab", Ordinal: 1, Created: time.Unix(1_800_000_000, 123), Scheme: kms.DeriveECB, ObjectID: []byte{2}}}
	const when = `"2027-01-15T08:00:00.000000123Z"`
	for _, c := range []struct{ got, want string }{
		{sampleCloudHSM().place().String(), "-/-/-/key-store/aws,111122223333,us-east-1,cks-1"},
		{encoded(t, customKeyStoreKind, sampleCloudHSM()), `{"partition":"aws","account":"111122223333","region":"us-east-1","id":"cks-1","name":"n",` +
			`"type":"AWS_CLOUDHSM","created":` + when + `,"state":"FAILED","errorCode":"INVALID_CREDENTIALS","generation":2,` +
			`"cloudHsm":{"clusterId":"cluster-a","trustAnchor":"PEM","sealedPassword":"AQ==","verified":true,"trying":` + when + `,` +
			`"refused":"INVALID_CREDENTIALS","anchored":true}}`},
		{encoded(t, customKeyStoreKind, sampleExternal()), `{"partition":"aws","account":"111122223333","region":"us-east-1","id":"cks-1","name":"n",` +
			`"type":"EXTERNAL_KEY_STORE","created":` + when + `,"state":"CONNECTED","generation":2,` +
			`"external":{"connectivity":"VPC_ENDPOINT_SERVICE","endpoint":"https://e","path":"/kms/xks/v1","vpcEndpointServiceName":"s",` +
			`"vpcEndpointServiceOwner":"o","accessKeyId":"a","sealedSecret":"Ag=="}}`},
		{stored.place().String(), "aws/1/r/key-store-key/cks-1;x.1"},
		{resident.stored().place().String(), "aws/1/r/key-store-key/cks-1;k"},
		{encoded(t, customKeyStoreKeyKind, stored), `{"partition":"aws","account":"1","region":"r","customKeyStoreId":"cks-1","keyId":"k","xksKeyId":"x.1"}`},
		{orphan.place().String(), "aws/1/r/key-store-orphan/cks-1;k"},
		{encoded(t, keyStoreOrphanKind, orphan), `{"partition":"aws","account":"1","region":"r","customKeyStoreId":"cks-1","keyId":"k",` +
			`"material":{"id":"ab","ordinal":1,"created":` + when + `,"scheme":"ecb","objectId":"Ag=="}}`},
	} {
		if c.got != c.want {
			t.Errorf("got  %s\nwant %s", c.got, c.want)
		}
	}
	if customKeyStoreKind.code != 20 || customKeyStoreKeyKind.code != 21 || keyStoreOrphanKind.code != 22 {
		t.Error("the codes are others")
	}
	for name, change := range map[string]func(*CustomKeyStoreRecord){
		"no name":                func(r *CustomKeyStoreRecord) { r.Name = "" },
		"a comma":                func(r *CustomKeyStoreRecord) { r.Account = "1,2" },
		"neither type":           func(r *CustomKeyStoreRecord) { r.CloudHSM = nil },
		"both types":             func(r *CustomKeyStoreRecord) { r.External = &ExternalRecord{} },
		"the other type":         func(r *CustomKeyStoreRecord) { r.Type = kms.CustomKeyStoreTypeExternalKeyStore },
		"a code without failure": func(r *CustomKeyStoreRecord) { r.State = kms.ConnectionStateTypeConnected },
		"failure without a code": func(r *CustomKeyStoreRecord) { r.ErrorCode = "" },
	} {
		r := sampleCloudHSM()
		change(r)
		if _, err := customKeyStoreKind.encode(r); err == nil {
			t.Errorf("%s: written", name)
		}
	}
}
