package ops

import (
	"testing"

	"github.com/kms11/kms11/audit"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// BenchmarkEvent is what a request pays for its audit event, from its call to the text that the trail
// is given.
func BenchmarkEvent(b *testing.B) {
	h := newAudited(b)
	made, err := h.invoke("CreateKey", in{})
	if err != nil {
		b.Fatal(err)
	}
	keyID := made.(*kms.CreateKeyResponse).KeyMetadata.KeyId
	h.addUser(account, "alice")
	record, err := h.store.Key(b.Context(), keystore.KeyID{Partition: "aws", Account: account, Region: testRegion, ID: keyID})
	if err != nil {
		b.Fatal(err)
	}
	k := keyOf(record)
	caller, err := h.service.CallerOf(b.Context(), "arn:aws:iam::"+account+":user/alice")
	if err != nil {
		b.Fatal(err)
	}
	caller.AccessKeyID = "AKIAIOSFODNN7EXAMPLE"
	caller.writeIdentity()
	request := &kms.EncryptRequest{KeyId: keyID, EncryptionAlgorithm: "SYMMETRIC_DEFAULT"}
	output := &kms.EncryptResponse{KeyId: keyID}
	origin := Origin{SourceIP: "192.0.2.1", UserAgent: "aws-sdk-go-v2/1.47.7 os/linux lang/go#1.26.4 md/GOOS#linux md/GOARCH#amd64 api/kms#1.62.4"}
	var text []byte
	b.ReportAllocs()
	for b.Loop() {
		call := h.service.Begin("dee2fbfa-04f9-40b1-b6c4-9a2dfa3c4f2c", origin)
		call.Region, call.Caller = testRegion, caller
		call.begin(b.Context(), "Encrypt", request)
		call.touch(k)
		call.uses(k)
		var event audit.Event
		h.service.fillEvent(&event, call, output, nil)
		text = event.Append(text[:0])
	}
	b.SetBytes(int64(len(text)))
}
