package keystore

import (
	"crypto/sha256"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/kms"
)

func FuzzGrantRecord(f *testing.F) { fuzzContent(f, grantKind, sampleGrant()) }

// sampleGrant has every member set that can be set together with the others.
func sampleGrant() *GrantRecord {
	return &GrantRecord{
		Partition: "aws", Account: "111122223333", Region: "us-east-1", KeyID: "k",
		ID: strings.Repeat("0f", 32), Created: time.Unix(1_800_000_000, 123), Name: "n",
		GranteePrincipal: "arn:aws:iam::111122223333:user/a/b", RetiringServicePrincipal: "rds.amazonaws.com",
		IssuingAccount:          "arn:aws:iam::111122223333:root",
		Operations:              []kms.GrantOperation{kms.GrantOperationEncrypt, kms.GrantOperationDecrypt},
		EncryptionContextEquals: map[string]string{"b": "<1>", "a": "2"}, EncryptionContextSubset: map[string]string{"c": "3"},
		SourceARN: "arn:aws:s3:::bucket",
	}
}

// TestFormatOfAGrant pins what docs/formats.md says of a grant and of what leads to it.
func TestFormatOfAGrant(t *testing.T) {
	grant := sampleGrant()
	const levels = `{"partition":"aws","account":"111122223333","region":"us-east-1","keyId":"k",`
	id := strings.Repeat("0f", 32)
	content, err := grantKind.encode(grant)
	if err != nil {
		t.Fatal(err)
	}
	want := levels + `"id":"` + id + `","created":"2027-01-15T08:00:00.000000123Z","name":"n",` +
		`"granteePrincipal":"arn:aws:iam::111122223333:user/a/b","retiringServicePrincipal":"rds.amazonaws.com",` +
		`"issuingAccount":"arn:aws:iam::111122223333:root","operations":["Encrypt","Decrypt"],` +
		`"encryptionContextEquals":{"a":"2","b":"<1>"},"encryptionContextSubset":{"c":"3"},"sourceArn":"arn:aws:s3:::bucket"}`
	if string(content) != want {
		t.Errorf("the content is\n%s, want\n%s", content, want)
	}
	r := reflect.ValueOf(*grant)
	for i := range r.NumField() {
		name := r.Type().Field(i).Name
		if r.Field(i).IsZero() && name != "GranteeServicePrincipal" && name != "RetiringPrincipal" {
			t.Errorf("the sample leaves %s out", name)
		}
	}

	digest, err := grant.digest()
	if err != nil {
		t.Fatal(err)
	}
	asked := strings.Replace(want, `"id":"`+id+`","created":"2027-01-15T08:00:00.000000123Z",`, "", 1)
	asked = strings.Replace(asked, `["Encrypt","Decrypt"]`, `["Decrypt","Encrypt"]`, 1)
	if sum := sha256.Sum256([]byte(asked)); digest != hex.EncodeToString(sum[:]) {
		t.Errorf("the digest is %s, want that of %s", digest, asked)
	}
	ref := grantRef{"aws", "111122223333", "us-east-1", "k", grant.GranteePrincipal, id}
	for _, c := range []struct{ got, want string }{
		{grant.place().String(), "aws/111122223333/us-east-1/grant/k;" + id},
		// The longest value is "<1>": printf %s "<1>" | sha256sum | cut -c1-16
		{grant.granteeEntry().place().String(), "aws/111122223333/us-east-1/grantee/k;arn:aws:iam::111122223333:user%2Fa%2Fb;3291d38f42e812a4;" + id},
		{(&retiringRecord{ref}).place().String(), "aws/-/us-east-1/retiring/arn:aws:iam::111122223333:user%2Fa%2Fb;111122223333;k;" + id},
		{grantNamePlace(grant.Key(), digest).String(), "aws/111122223333/us-east-1/grant-name/k;" + digest},
		{grantCountPlace(grant.Key()).String(), "aws/111122223333/us-east-1/grant-count/k"},
		{encoded(t, granteeKind, grant.granteeEntry()), levels + `"principal":"arn:aws:iam::111122223333:user/a/b","grantId":"` + id + `","selector":"3291d38f42e812a4"}`},
		{encoded(t, retiringKind, &retiringRecord{ref}), levels + `"principal":"arn:aws:iam::111122223333:user/a/b","grantId":"` + id + `"}`},
		{encoded(t, grantNameKind, &grantNameRecord{"aws", "111122223333", "us-east-1", "k", digest, id}), levels + `"digest":"` + digest + `","grantId":"` + id + `"}`},
		{encoded(t, grantCountKind, &grantCountRecord{"aws", "111122223333", "us-east-1", "k", 2}), levels + `"grants":2}`},
	} {
		if c.got != c.want {
			t.Errorf("got  %s\nwant %s", c.got, c.want)
		}
	}
	codes := []uint8{grantKind.code, granteeKind.code, retiringKind.code, grantNameKind.code, grantCountKind.code}
	if !reflect.DeepEqual(codes, []uint8{7, 8, 9, 10, 11}) {
		t.Errorf("the codes are %v", codes)
	}
}

func encoded[T any](t *testing.T, k kind[T], record *T) string {
	t.Helper()
	content, err := k.encode(record)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
