package keystore

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/kms"
)

// CachedRecords is for the tests outside the package.
func CachedRecords(s *Store) (n int) {
	for i := range s.cache.shards {
		n += len(*s.cache.shards[i].entries.Load())
	}
	return n
}

func TestEngineKeys(t *testing.T) {
	for _, c := range []struct {
		key  engineKey
		want string
	}{
		{(&headerContent{}).place(), "-/-/-/header/store"},
		{KeyID{"aws", "111122223333", "us-east-1", "mrk-00ff"}.place(), "aws/111122223333/us-east-1/key/mrk-00ff"},
		{UserID{"aws", "111122223333", "admin"}.place(), "aws/111122223333/-/user/admin"},
		{accessKeyPlace("AKIAEXAMPLE"), "-/-/-/access-key/AKIAEXAMPLE"},
		{AliasID{"aws", "111122223333", "us-east-1", "app/prod"}.place(), "aws/111122223333/us-east-1/alias/app%2Fprod"},
		{sampleDue().place(), "-/-/-/due/2027-01-15T08:00:00.000000123Z,destroy-material,aws,1,r,k,ab"},
		{UserID{"aws", "1", "a/b"}.place(), "aws/1/-/user/a%2Fb"},
		{UserID{"aws", "1", "a%2Fb"}.place(), "aws/1/-/user/a%252Fb"},
		{UserID{"aws", "1", "-"}.place(), "aws/1/-/user/%2D"},
		{UserID{"aws", "-", "--"}.place(), "aws/%2D/-/user/--"},
		{UserID{"aws", "1", "é \x00\x7f"}.place(), "aws/1/-/user/%C3%A9%20%00%7F"},
	} {
		if got := c.key.String(); got != c.want {
			t.Errorf("%+v is %s, want %s", c.key, got, c.want)
		}
	}
	if headerPlace != (&headerContent{}).place().String() {
		t.Error("headerPlace is not the header's place")
	}
}

func FuzzLevel(f *testing.F) {
	for _, s := range []string{"a", "-", "a/b", "%2F", "%2f", "%", "%4", "%zz", "%41", "é", "\x00", "%+1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		level := string(appendLevel(nil, s))
		if strings.ContainsAny(level, "/") || level == "-" {
			t.Errorf("%q is written %q", s, level)
		}
		if back, err := parseLevel(level); err != nil || back != s {
			t.Errorf("%q comes back as %q, %v", s, back, err)
		}
		if back, err := parseLevel(s); err == nil && string(appendLevel(nil, back)) != s {
			t.Errorf("%q and %q both stand for %q", s, level, back)
		}
	})
}

// goldenEnvelope and goldenMACInput are the bytes that docs/formats.md describes.
const goldenEnvelope = "01" + "02" + "0001" + "00000003" + "0000000000000007" + "00000002" + "7b7d"

func TestEnvelopeBytes(t *testing.T) {
	e := envelope{kind: 2, contentVersion: 1, recordKey: 3, revision: 7, content: []byte("{}")}
	for i := range e.mac {
		e.mac[i] = 0xee
	}
	if got := hex.EncodeToString(e.marshal()); got != goldenEnvelope+strings.Repeat("ee", 32) {
		t.Errorf("the envelope is %s", got)
	}
	want := hex.EncodeToString([]byte("kms11 store record 1\x00")) + "00000004" + hex.EncodeToString([]byte("uuid")) +
		"00000005" + hex.EncodeToString([]byte("place")) + goldenEnvelope
	if got := hex.EncodeToString(e.macInput("uuid", "place")); got != want {
		t.Errorf("the MAC input is %s, want %s", got, want)
	}
}

func TestKindsDiffer(t *testing.T) {
	codes := map[uint8]bool{headerKind.code: true, keyKind.code: true, userKind.code: true, accessKeyKind.code: true,
		aliasKind.code: true, dueKind.code: true, keyCountKind.code: true}
	if len(codes) != 7 || codes[0] {
		t.Errorf("the codes are %v", codes)
	}
}

func FuzzEnvelope(f *testing.F) {
	good := (&envelope{kind: 2, contentVersion: 1, recordKey: 1, revision: 9, content: []byte(`{"a":1}`)}).marshal()
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(good[:20])
	f.Add([]byte{})
	f.Add([]byte{2})
	f.Add(append(bytes.Repeat([]byte{1}, 16), bytes.Repeat([]byte{0xff}, 40)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseEnvelope(b)
		if err != nil {
			return
		}
		if !bytes.Equal(e.marshal(), b) {
			t.Errorf("%x is written back as %x", b, e.marshal())
		}
	})
}

func FuzzKeyRecord(f *testing.F)   { fuzzContent(f, keyKind, sampleKey()) }
func FuzzHeader(f *testing.F)      { fuzzContent(f, headerKind, sampleHeader()) }
func FuzzUserRecord(f *testing.F)  { fuzzContent(f, userKind, sampleUser()) }
func FuzzRoleRecord(f *testing.F)  { fuzzContent(f, roleKind, sampleRole()) }
func FuzzAliasRecord(f *testing.F) { fuzzContent(f, aliasKind, sampleAlias()) }
func FuzzDueRecord(f *testing.F)   { fuzzContent(f, dueKind, sampleDue()) }

// fuzzContent: what can be read and written comes back the same from being written.
func fuzzContent[T any](f *testing.F, k kind[T], sample *T) {
	seed, err := k.encode(sample)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte(`{}`))
	f.Add([]byte(`{} {}`))
	f.Add([]byte(`{"unknown":1}`))
	f.Add(bytes.Replace(seed, []byte(`"created":"`), []byte(`"created":"0`), 1))
	f.Add(bytes.Replace(seed, []byte("Z"), []byte("+01:00"), 1))
	f.Fuzz(func(t *testing.T, content []byte) {
		record, err := k.decode(content)
		if err != nil {
			return
		}
		first, err := k.encode(record)
		if err != nil {
			return
		}
		back, err := k.decode(first)
		if err != nil {
			t.Fatalf("%s cannot be read back: %v", first, err)
		}
		second, err := k.encode(back)
		if err != nil || !bytes.Equal(first, second) {
			t.Errorf("%s is written again as %s, %v", first, second, err)
		}
	})
}

func sampleHeader() *headerContent {
	return &headerContent{StoreID: newStoreID(), Created: time.Unix(1, 2), Domain: kms.Domain{
		ID: "00ff", Scheme: kms.DeriveECB, Keys: []kms.DomainKey{{Role: kms.RoleRecord, Version: 1, ObjectID: []byte{1}, Check: []byte{2}}},
		Transfer: &kms.Material{ID: "ab", Ordinal: 1, Created: time.Unix(1, 2), Blob: []byte{3}},
	}, Regions: []RegionDomain{{Region: "r", Created: time.Unix(1, 2), Domain: kms.Domain{ID: "ff00", Scheme: kms.DeriveECB}}}}
}

func sampleUser() *UserRecord {
	return &UserRecord{Partition: "aws", Account: "1", Name: "n", ARN: "a", Created: time.Unix(1, 2), ID: "AIDAEXAMPLE",
		Identity: sampleIdentity(), AccessKeys: []string{"AKIAEXAMPLE"}}
}

func sampleAlias() *AliasRecord {
	return &AliasRecord{Partition: "aws", Account: "1", Region: "r", Name: "a/b", TargetKeyID: "k",
		Created: time.Unix(1, 2), Updated: time.Unix(3, 4)}
}

func sampleDue() *DueRecord {
	return &DueRecord{Due: time.Unix(1_800_000_000, 123), Action: DueDestroyMaterial, Partition: "aws", Account: "1", Region: "r", KeyID: "k",
		Material: &kms.Material{ID: "ab", Ordinal: 1, Created: time.Unix(1, 2), ObjectID: []byte{1}}}
}

func sampleKey() *KeyRecord {
	now := time.Unix(1_800_000_000, 123)
	return &KeyRecord{
		Partition: "aws", Account: "1", Region: "r", ID: "k", Created: now, Description: "<d>",
		Spec: kms.KeySpecSymmetricDefault, Usage: kms.KeyUsageTypeEncryptDecrypt, Origin: kms.OriginTypeExternal,
		Manager: kms.KeyManagerTypeCustomer, State: kms.KeyStatePendingDeletion, DeletionDate: now, PendingWindowInDays: 7,
		Policy: "{}", Tags: []Tag{{"k", "v"}}, Aliases: []string{"a", "b"},
		Materials: []KeyMaterial{{
			Material: kms.Material{ID: "ab", Ordinal: 1, Created: now, Scheme: kms.DeriveECB, Domain: "00ff", Wrap: kms.AESKeyWrap, DomainKey: 1,
				Length: 32, Blob: []byte{1}, ObjectID: []byte{2}, PublicKey: []byte{3}},
			Rotated: now, RotationType: kms.RotationTypeAutomatic, Description: "d",
			ExpirationModel: kms.ExpirationModelTypeKeyMaterialExpires, ValidTo: now,
		}},
		Current:          1,
		Rotation:         &Rotation{Enabled: true, PeriodInDays: 365, Next: now, OnDemand: 1, OnDemandStarted: now},
		MultiRegion:      &MultiRegion{Type: kms.MultiRegionKeyTypePrimary, PrimaryRegion: "r", ReplicaRegions: []string{"s"}},
		CustomKeyStoreID: "c", XksKeyID: "x",
	}
}

// TestContentOfAKey pins the members of the JSON: they are a format. It also pins that the sample
// leaves no member out, so that the fuzz target and docs/formats.md know of each.
func TestContentOfAKey(t *testing.T) {
	content, err := keyKind.encode(sampleKey())
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"partition":"aws","account":"1","region":"r","id":"k","created":"2027-01-15T08:00:00.000000123Z",` +
		`"description":"<d>","spec":"SYMMETRIC_DEFAULT","usage":"ENCRYPT_DECRYPT","origin":"EXTERNAL","manager":"CUSTOMER",` +
		`"state":"PendingDeletion","deletionDate":"2027-01-15T08:00:00.000000123Z","pendingWindowInDays":7,"policy":"{}",` +
		`"tags":[{"key":"k","value":"v"}],"aliases":["a","b"],` +
		`"materials":[{"id":"ab","ordinal":1,"created":"2027-01-15T08:00:00.000000123Z","scheme":"ecb","domain":"00ff","wrap":"RFC3394",` +
		`"domainKey":1,"length":32,"blob":"AQ==","objectId":"Ag==","publicKey":"Aw==",` +
		`"rotated":"2027-01-15T08:00:00.000000123Z","rotationType":"AUTOMATIC","description":"d",` +
		`"expirationModel":"KEY_MATERIAL_EXPIRES","validTo":"2027-01-15T08:00:00.000000123Z"}],"current":1,` +
		`"rotation":{"enabled":true,"periodInDays":365,"next":"2027-01-15T08:00:00.000000123Z","onDemand":1,` +
		`"onDemandStarted":"2027-01-15T08:00:00.000000123Z"},` +
		`"multiRegion":{"type":"PRIMARY","primaryRegion":"r","replicaRegions":["s"]},"customKeyStoreId":"c","xksKeyId":"x"}`
	if string(content) != want {
		t.Errorf("the content is\n%s, want\n%s", content, want)
	}
	for _, v := range []any{*sampleKey(), sampleKey().Materials[0], *sampleKey().Rotation, *sampleKey().MultiRegion} {
		r := reflect.ValueOf(v)
		for i := range r.NumField() {
			if r.Type().Field(i).IsExported() && r.Field(i).IsZero() {
				t.Errorf("the sample leaves %s.%s out", r.Type(), r.Type().Field(i).Name)
			}
		}
	}
}

func TestUnknownContentIsRefused(t *testing.T) {
	content, err := keyKind.encode(sampleKey())
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		strings.Replace(string(content), `{`, `{"new":1,`, 1),
		strings.Replace(string(content), `"ordinal"`, `"new":1,"ordinal"`, 1),
		string(content) + "{}",
		"", "[]", "null{}",
	} {
		if _, err := keyKind.decode([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}
