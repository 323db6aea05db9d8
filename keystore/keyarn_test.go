package keystore_test

import (
	"testing"

	"github.com/kms11/kms11/keystore"
)

// TestARN: a record that was read knows its ARN, and a changed copy of one has its own.
func TestARN(t *testing.T) {
	s := newStore(t, quietEngine{newEngine(t)}, newAuthenticator())
	const id = "1234abcd-12ab-34cd-56ef-1234567890ab"
	putKey(t, s, newKey(id))
	want := func(r *keystore.KeyRecord, region string) {
		t.Helper()
		if got := r.ARN(); got != "arn:aws:kms:"+region+":111122223333:key/"+id {
			t.Errorf("the ARN is %s", got)
		}
	}
	read, err := s.Key(t.Context(), newKey(id).KeyID())
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { read.ARN() }); n != 0 {
		t.Errorf("the ARN of a record that was read allocates %v times", n)
	}
	want(newKey(id), "us-east-1")
	want(read, "us-east-1")
	plain, clone := *read, read.Clone()
	for _, r := range []*keystore.KeyRecord{&plain, clone} {
		want(r, "us-east-1")
		r.Region = "eu-west-1"
		want(r, "eu-west-1")
		r.Region = "us-east-1"
		want(r.Clone(), "us-east-1")
	}
	want(read, "us-east-1")
	update(t, s, func(tx *keystore.Tx) error {
		r, err := tx.Key(read.KeyID())
		if err == nil {
			want(r, "us-east-1")
		}
		return err
	})
}
