package ops

import (
	"maps"
	"reflect"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// The Regions that the services of these tests serve beside testRegion, and one that none does.
const (
	ireland  = "eu-west-1"
	oregon   = "us-west-2"
	unserved = "ap-south-1"
)

func servesRegion(region string) bool {
	return region == ireland || region == oregon || region == "cn-north-1"
}

// site is a harness seen from one Region.
type site struct {
	*harness
	region string
}

func (h *harness) at(region string) site { return site{h, region} }

func (s site) callOf(caller *Caller) *Call {
	return &Call{RequestID: "test", Region: s.region, Caller: caller}
}

// try sends a request of the account's root user in the site's Region.
func (s site) try(op string, request any) (any, error) {
	s.t.Helper()
	return s.invokeAs(s.callOf(RootCaller("aws", account)), op, request)
}

// get is try for requests that have to succeed.
func (s site) get(op string, request any) any {
	s.t.Helper()
	out, err := s.try(op, request)
	if err != nil {
		s.t.Fatalf("%s in %s: %v", op, s.region, err)
	}
	return out
}

func (s site) arn(keyID string) string {
	return "arn:aws:kms:" + s.region + ":" + account + ":key/" + keyID
}

func (s site) metadata(keyID string) *kms.KeyMetadata {
	s.t.Helper()
	return s.get("DescribeKey", in{"KeyId": keyID}).(*kms.DescribeKeyResponse).KeyMetadata
}

func (s site) record(keyID string) *keystore.KeyRecord {
	s.t.Helper()
	record, err := s.store.Key(s.t.Context(), keystore.KeyID{Partition: "aws", Account: account, Region: s.region, ID: keyID})
	if err != nil {
		s.t.Fatal(err)
	}
	return record
}

func (s site) edit(keyID string, change func(*keystore.KeyRecord)) {
	s.t.Helper()
	record := s.record(keyID).Clone()
	change(record)
	if err := s.store.Update(s.t.Context(), func(tx *keystore.Tx) error { return tx.PutKey(record) }); err != nil {
		s.t.Fatal(err)
	}
}

func (s site) encrypt(keyID, plaintext string) []byte {
	s.t.Helper()
	return s.get("Encrypt", in{"KeyId": keyID, "Plaintext": []byte(plaintext)}).(*kms.EncryptResponse).CiphertextBlob
}

// wantOpens wants a ciphertext to be decrypted by the site's key, named or not.
func (s site) wantOpens(keyID string, blob []byte, plaintext string) {
	s.t.Helper()
	for _, request := range []in{{"CiphertextBlob": blob}, {"CiphertextBlob": blob, "KeyId": keyID}} {
		out := s.get("Decrypt", request).(*kms.DecryptResponse)
		if string(out.Plaintext) != plaintext || out.KeyId != s.arn(keyID) {
			s.t.Errorf("in %s it decrypts to %d bytes under %s", s.region, len(out.Plaintext), out.KeyId)
		}
	}
}

// multiKey makes a primary key in testRegion with replicas.
func (h *harness) multiKey(request in, replicas ...string) *kms.KeyMetadata {
	h.t.Helper()
	request = maps.Clone(request)
	if request == nil {
		request = in{}
	}
	request["MultiRegion"] = true
	key := h.createKey(request)
	for _, region := range replicas {
		h.must("ReplicateKey", in{"KeyId": key.KeyId, "ReplicaRegion": region})
	}
	return key
}

// wantPlaces wants every related key of a key to know the places of all.
func (h *harness) wantPlaces(keyID, primary string, replicas ...string) {
	h.t.Helper()
	place := func(region string) kms.MultiRegionKey {
		return kms.MultiRegionKey{Arn: h.at(region).arn(keyID), Region: region}
	}
	at := place(primary)
	want := kms.MultiRegionConfiguration{PrimaryKey: &at, ReplicaKeys: []kms.MultiRegionKey{}}
	for _, region := range replicas {
		want.ReplicaKeys = append(want.ReplicaKeys, place(region))
	}
	for _, region := range append([]string{primary}, replicas...) {
		want.MultiRegionKeyType = kms.MultiRegionKeyTypeReplica
		if region == primary {
			want.MultiRegionKeyType = kms.MultiRegionKeyTypePrimary
		}
		m := h.at(region).metadata(keyID)
		if !m.MultiRegion || !reflect.DeepEqual(*m.MultiRegionConfiguration, want) {
			h.t.Errorf("the key in %s says\n%+v, want\n%+v", region, m.MultiRegionConfiguration, want)
		}
	}
}
