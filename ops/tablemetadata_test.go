package ops

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// members is a value as a client reads it.
func members(t testing.TB, value any) map[string]any {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// wantMembers compares an answer with all members that it may have.
func wantMembers(t testing.TB, what string, value any, want map[string]any) {
	t.Helper()
	got := members(t, value)
	want = members(t, want) // the types that JSON knows
	for name := range want {
		if !reflect.DeepEqual(got[name], want[name]) {
			t.Errorf("%s: %s is %v, want %v", what, name, got[name], want[name])
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s: unexpected member %s: %v", what, name, got[name])
		}
	}
}

var materialID = regexp.MustCompile(`^[a-f0-9]{64}$`)

// wantMetadata is KeyMetadata of a new key, every member of it.
func wantMetadata(row kindRow, m *kms.KeyMetadata, created time.Time) map[string]any {
	want := map[string]any{
		"AWSAccountId":          account,
		"Arn":                   "arn:aws:kms:" + testRegion + ":" + account + ":key/" + m.KeyId,
		"CreationDate":          float64(created.Unix()),
		"CustomerMasterKeySpec": row.spec,
		"Description":           "",
		"Enabled":               true,
		"KeyId":                 m.KeyId,
		"KeyManager":            "CUSTOMER",
		"KeySpec":               row.spec,
		"KeyState":              "Enabled",
		"KeyUsage":              row.usage,
		"MultiRegion":           false,
		"Origin":                "AWS_KMS",
	}
	if offered := row.offered(); offered != nil {
		want[row.member] = offered
	}
	if row.spec == symmetricDefault {
		want["CurrentKeyMaterialId"] = m.CurrentKeyMaterialId
	}
	return want
}

// testMetadata looks at KeyMetadata of keys that are not new.
func testMetadata(t *testing.T, k *keyring) {
	rows := map[kind]kindRow{}
	for _, row := range kindRows() {
		rows[row.kind] = row
	}
	id := "mrk-" + strings.Repeat("0123456789abcdef", 2)
	place := func(region string) map[string]any {
		return map[string]any{"Arn": "arn:aws:kms:" + region + ":" + account + ":key/" + id, "Region": region}
	}
	multi := func(kind, primary string, replicas ...any) map[string]any {
		return map[string]any{"MultiRegion": true, "MultiRegionConfiguration": map[string]any{"MultiRegionKeyType": kind,
			"PrimaryKey": place(primary), "ReplicaKeys": append([]any{}, replicas...)}}
	}
	related := func(kind kms.MultiRegionKeyType, primary string, replicas ...string) func(*keystore.KeyRecord) {
		return func(r *keystore.KeyRecord) {
			r.MultiRegion = &keystore.MultiRegion{Type: kind, PrimaryRegion: primary, ReplicaRegions: replicas}
		}
	}
	state := func(state kms.KeyState) func(*keystore.KeyRecord) { return setState(state, k.clock.Now()) }
	off := func(state string) map[string]any { return map[string]any{"Enabled": false, "KeyState": state} }
	none := kind{symmetricDefault, encryptDecrypt}
	defer func() { // ghostKey must not exist for the other tables
		ghost := k.record(ghostKey).KeyID()
		if err := k.store.Update(t.Context(), func(tx *keystore.Tx) error { return tx.DeleteKey(ghost) }); err != nil {
			t.Error(err)
		}
	}()
	for _, c := range []struct {
		name   string
		kind   kind
		change func(*keystore.KeyRecord)
		want   map[string]any // members that differ from those of a new key; nil: missing
	}{
		{"primary", none, related("PRIMARY", testRegion), multi("PRIMARY", testRegion)},
		{"primary with replicas", none, related("PRIMARY", testRegion, "eu-west-1", "us-west-2"),
			multi("PRIMARY", testRegion, place("eu-west-1"), place("us-west-2"))},
		{"replica", none, related("REPLICA", "eu-west-1", testRegion), multi("REPLICA", "eu-west-1", place(testRegion))},
		{"multi-Region RSA key", kind{"RSA_2048", signVerify}, related("PRIMARY", testRegion), multi("PRIMARY", testRegion)},
		{"disabled", none, state("Disabled"), off("Disabled")},
		{"disabled HMAC key", kind{"HMAC_512", generateVerify}, state("Disabled"), off("Disabled")},
		{"updating", none, state("Updating"), off("Updating")},
		{"creating", none, state("Creating"), map[string]any{"Enabled": false, "KeyState": "Creating", "CurrentKeyMaterialId": nil}},
		{"pending deletion", none, state("PendingDeletion"), map[string]any{"Enabled": false, "KeyState": "PendingDeletion",
			"DeletionDate": float64(k.clock.Now().Add(7 * 24 * time.Hour).Unix())}},
		{"pending deletion of an ECC key", kind{"ECC_NIST_P256", keyAgreement}, state("PendingDeletion"), map[string]any{"Enabled": false,
			"KeyState": "PendingDeletion", "DeletionDate": float64(k.clock.Now().Add(7 * 24 * time.Hour).Unix())}},
		{"pending replica deletion", none, state("PendingReplicaDeletion"), map[string]any{"Enabled": false,
			"KeyState": "PendingReplicaDeletion", "PendingDeletionWindowInDays": 7.0}},
		{"without material", none, func(r *keystore.KeyRecord) {
			r.State, r.Origin, r.Materials, r.Current = "PendingImport", "EXTERNAL", nil, 0
		}, map[string]any{"Enabled": false, "KeyState": "PendingImport", "Origin": "EXTERNAL", "CurrentKeyMaterialId": nil}},
		{"material deleted", none, func(r *keystore.KeyRecord) {
			r.State, r.Origin, r.Materials[0].Blob = "PendingImport", "EXTERNAL", nil
		}, map[string]any{"Enabled": false, "KeyState": "PendingImport", "Origin": "EXTERNAL"}},
		{"described", none, func(r *keystore.KeyRecord) { r.Description = "payroll" }, map[string]any{"Description": "payroll"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := k.on(t)
			key := *k.keys[c.kind]
			want := wantMetadata(rows[c.kind], &key, k.clock.Now())
			for name, value := range c.want {
				want[name] = value
				if value == nil {
					delete(want, name)
				}
			}
			copied := k.record(key.KeyId).Clone()
			c.change(copied)
			if copied.ID = ghostKey; want["MultiRegion"] == true {
				copied.ID = id
			}
			want["KeyId"], want["Arn"] = copied.ID, "arn:aws:kms:"+testRegion+":"+account+":key/"+copied.ID
			if err := k.store.Update(t.Context(), func(tx *keystore.Tx) error { return tx.PutKey(copied) }); err != nil {
				t.Fatal(err)
			}
			wantMembers(t, c.name, k.describe(copied.ID), want)
		})
	}
}

// testPublicKeys reads the public half of every kind of key that has one.
func testPublicKeys(t *testing.T, k *keyring) {
	for _, row := range kindRows() {
		key := k.keys[row.kind]
		switch {
		case row.spec == symmetricDefault || row.usage == generateVerify:
			// AWS's text is not known; this is what a client reads here.
			k.refused("GetPublicKey", in{"KeyId": key.KeyId}, fault{kms.UnsupportedOperationException,
				key.Arn + " key spec is " + row.spec + " which is not valid for GetPublicKey."})
		case row.lacking != "":
			k.refused("GetPublicKey", in{"KeyId": key.KeyId}, fault{kms.KMSInvalidStateException, key.Arn + " is pending import."})
		default:
			got := k.allowed("GetPublicKey", in{"KeyId": key.KeyId}).(*kms.GetPublicKeyResponse)
			wantMembers(t, row.spec, got, map[string]any{"KeyId": key.Arn, "PublicKey": got.PublicKey, "KeySpec": row.spec,
				"CustomerMasterKeySpec": row.spec, "KeyUsage": row.usage, row.member: row.offered()})
			wantPublicKey(t, row.spec, got.PublicKey)
		}
	}
}

// wantPublicKey wants a SubjectPublicKeyInfo with a public key of a spec.
func wantPublicKey(t testing.TB, spec string, der []byte) {
	t.Helper()
	if spec == "ECC_SECG_P256K1" { // the standard library lacks the curve: SEC 1, section C.4, for P-256K1
		const head = "\x30\x56\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x0a\x03\x42\x00\x04"
		if len(der) != 88 || !strings.HasPrefix(string(der), head) {
			t.Errorf("%s: public key %x", spec, der)
		}
		return
	}
	// Nor does it read these: the algorithm with its curve or parameter set, and the length (GB/T
	// 32918.5, RFC 9881, RFC 9935).
	for name, want := range map[string]struct {
		oid  string
		size int
	}{
		"SM2":       {"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x81\x1c\xcf\x55\x01\x82\x2d", 65},
		"ML_DSA_44": {"\x60\x86\x48\x01\x65\x03\x04\x03\x11", 1312}, "ML_DSA_65": {"\x60\x86\x48\x01\x65\x03\x04\x03\x12", 1952},
		"ML_DSA_87": {"\x60\x86\x48\x01\x65\x03\x04\x03\x13", 2592}, "ML_KEM_512": {"\x60\x86\x48\x01\x65\x03\x04\x04\x01", 800},
		"ML_KEM_768": {"\x60\x86\x48\x01\x65\x03\x04\x04\x02", 1184}, "ML_KEM_1024": {"\x60\x86\x48\x01\x65\x03\x04\x04\x03", 1568},
	} {
		if name != spec {
			continue
		}
		var info struct {
			Algorithm asn1.RawValue
			Key       asn1.BitString
		}
		if rest, err := asn1.Unmarshal(der, &info); err != nil || len(rest) != 0 || len(info.Key.Bytes) != want.size ||
			!strings.HasSuffix(string(info.Algorithm.Bytes), want.oid) {
			t.Errorf("%s: public key %x (%v)", spec, der, err)
		}
		return
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		t.Errorf("%s: %v", spec, err)
		return
	}
	var got string
	switch key := key.(type) {
	case *rsa.PublicKey:
		got = "RSA_" + strconv.Itoa(key.N.BitLen())
	case *ecdsa.PublicKey:
		got = "ECC_NIST_P" + strconv.Itoa(key.Curve.Params().BitSize)
	case ed25519.PublicKey:
		got = "ECC_NIST_EDWARDS25519"
	}
	if got != spec {
		t.Errorf("%s: public key of %s", spec, got)
	}
}
