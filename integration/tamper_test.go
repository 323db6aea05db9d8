package integration_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"go.etcd.io/bbolt"

	"github.com/kms11/kms11/integration/kms11test"
)

// Engine keys, as docs/formats.md describes them.
const (
	headerRecord    = "-/-/-/header/store"
	userRecord      = "aws/" + kms11test.Account + "/-/user/admin"
	accessKeyPrefix = "-/-/-/access-key/"
	keyPrefix       = "aws/" + kms11test.Account + "/" + kms11test.Region + "/key/"
)

// editStore changes the keystore of a server that has stopped, as somebody could who can write its
// file but does not have the token.
func editStore(t *testing.T, server *kms11test.Server, change func(records *bbolt.Bucket)) {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(server.Dir, keystoreFile), 0o600, &bbolt.Options{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		change(tx.Bucket([]byte("kms11")))
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// record gives a copy of a record, which must be there.
func record(t *testing.T, records *bbolt.Bucket, place string) []byte {
	t.Helper()
	raw := records.Get([]byte(place))
	if raw == nil {
		t.Fatalf("no record %s", place)
	}
	return bytes.Clone(raw)
}

func putRecord(t *testing.T, records *bbolt.Bucket, place string, raw []byte) {
	t.Helper()
	if err := records.Put([]byte(place), raw); err != nil {
		t.Fatal(err)
	}
}

// replaced gives raw with another text in its content, whose length in the envelope is put right.
func replaced(t *testing.T, raw []byte, old, new string) []byte {
	t.Helper()
	if n := bytes.Count(raw, []byte(old)); n != 1 {
		t.Fatalf("%q is there %d times", old, n)
	}
	raw = bytes.Replace(raw, []byte(old), []byte(new), 1)
	binary.BigEndian.PutUint32(raw[16:], uint32(len(raw)-20-32))
	return raw
}

var materialBlob = regexp.MustCompile(`"blob":"[^"]+"`)

// TestTamperedKeysAreRefused does to a key's record what its attacker may want, for one key each.
// The server starts and refuses those keys, and only those.
func TestTamperedKeysAreRefused(t *testing.T) {
	server := kms11test.Start(t)
	client := server.Client(t)
	// A change of one record; other is the untampered record of another key.
	edit := map[string]func(raw, other []byte) []byte{
		"the description": func(raw, _ []byte) []byte {
			return replaced(t, raw, `"description":"mine"`, `"description":"another's"`)
		},
		"a disabled key": func(raw, _ []byte) []byte { return replaced(t, raw, `"state":"Disabled"`, `"state":"Enabled"`) },
		"the key policy": func(raw, _ []byte) []byte {
			return replaced(t, raw, "iam::"+kms11test.Account+":root", "iam::444455556666:root")
		},
		"another's blob":    func(raw, other []byte) []byte { return materialBlob.ReplaceAllLiteral(raw, materialBlob.Find(other)) },
		"another's record":  func(_, other []byte) []byte { return other },
		"a user's record":   nil,                                                   // below
		"content version 1": func(raw, _ []byte) []byte { raw[3] = 1; return raw }, // which can be read too
		"record key 2":      func(raw, _ []byte) []byte { raw[7] = 2; return raw },
		"a later revision":  func(raw, _ []byte) []byte { raw[15]++; return raw },
		"the MAC":           func(raw, _ []byte) []byte { raw[len(raw)-1] ^= 1; return raw },
		"no MAC":            func(raw, _ []byte) []byte { return raw[:len(raw)-32] },
		"cut short":         func(raw, _ []byte) []byte { return raw[:30] },
		"emptied":           func([]byte, []byte) []byte { return nil },
		"lengthened":        func(raw, _ []byte) []byte { return append(raw, 0) },
	}
	type victim struct {
		id   string
		blob []byte
	}
	newVictim := func(description string) victim {
		key := must(client.CreateKey(t.Context(), &kms.CreateKeyInput{Description: &description}))(t).KeyMetadata
		sealed := must(client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x")}))(t)
		return victim{*key.KeyId, sealed.CiphertextBlob}
	}
	victims := map[string]victim{}
	for name := range edit {
		victims[name] = newVictim("mine")
	}
	must(client.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: aws.String(victims["a disabled key"].id)}))(t)
	moved, one, two, untouched := newVictim("moved"), newVictim("one"), newVictim("two"), newVictim("untouched")
	server.Stop(t)

	before := map[string][]byte{}
	editStore(t, server, func(records *bbolt.Bucket) {
		err := records.ForEach(func(place, raw []byte) error {
			before[string(place)] = bytes.Clone(raw)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		other := record(t, records, keyPrefix+untouched.id)
		for name, change := range edit {
			place := keyPrefix + victims[name].id
			raw := record(t, records, userRecord)
			if change != nil {
				raw = change(record(t, records, place), bytes.Clone(other))
			}
			if bytes.Equal(raw, before[place]) {
				t.Errorf("%s: nothing is changed", name)
			}
			putRecord(t, records, place, raw)
		}
		putRecord(t, records, keyPrefix+unknownKey, record(t, records, keyPrefix+moved.id))
		if err := records.Delete([]byte(keyPrefix + moved.id)); err != nil {
			t.Fatal(err)
		}
		rawOne, rawTwo := record(t, records, keyPrefix+one.id), record(t, records, keyPrefix+two.id)
		putRecord(t, records, keyPrefix+one.id, rawTwo)
		putRecord(t, records, keyPrefix+two.id, rawOne)
	})
	server.Restart(t)
	client = server.Client(t)

	victims["moved here"] = victim{id: unknownKey}
	victims["swapped, one"], victims["swapped, two"] = one, two
	for name, v := range victims {
		t.Run(name, func(t *testing.T) { wantKeyRefused(t, server, v.id, v.blob) })
	}
	_, err := client.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &moved.id})
	wantCode(t, err, "NotFoundException", "") // a record that was taken away is simply not there
	wantKeyWorks(t, client, untouched.id, untouched.blob)
	wantKeyWorks(t, client, *createKey(t, client).KeyId, nil)
	wantUnharmed(t, server)
	server.Stop(t)

	// Nothing was lost by it: with its own record each key works again.
	editStore(t, server, func(records *bbolt.Bucket) {
		for place, raw := range before {
			if strings.HasPrefix(place, keyPrefix) {
				putRecord(t, records, place, raw)
			}
		}
	})
	server.Restart(t)
	client = server.Client(t)
	must(client.EnableKey(t.Context(), &kms.EnableKeyInput{KeyId: aws.String(victims["a disabled key"].id)}))(t)
	for _, v := range victims {
		if v.id != unknownKey {
			wantKeyWorks(t, client, v.id, v.blob)
		}
	}
}

// wantKeyRefused wants every use of a key, reading and writing, to fail without a word to the
// client, and the log to name the record.
func wantKeyRefused(t *testing.T, server *kms11test.Server, id string, blob []byte) {
	t.Helper()
	requests := map[string]map[string]any{
		"DescribeKey":          {"KeyId": id},
		"Encrypt":              {"KeyId": id, "Plaintext": []byte("x")},
		"GenerateDataKey":      {"KeyId": id, "KeySpec": "AES_256"},
		"EnableKey":            {"KeyId": id},
		"UpdateKeyDescription": {"KeyId": id, "Description": "d"},
	}
	if blob != nil {
		requests["Decrypt"] = map[string]any{"CiphertextBlob": blob}
	}
	for operation, request := range requests {
		body, err := json.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		logged := len(server.Log(t))
		answer := server.Call(t, operation, body)
		if answer.Status != http.StatusInternalServerError || answer.Type != "KMSInternalException" || answer.Message != "" {
			t.Errorf("%s: got %d %s %q", operation, answer.Status, answer.Type, answer.Message)
		}
		if log := server.Log(t)[logged:]; !strings.Contains(log, keyPrefix+id) {
			t.Errorf("%s: the log does not name the record: %s", operation, log)
		}
	}
}

func wantKeyWorks(t *testing.T, client *kms.Client, id string, blob []byte) {
	t.Helper()
	describe(t, client, id)
	if blob == nil {
		blob = must(client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: &id, Plaintext: []byte("x")}))(t).CiphertextBlob
	}
	opened := must(client.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: blob}))(t)
	if string(opened.Plaintext) != "x" || !strings.HasSuffix(*opened.KeyId, id) {
		t.Errorf("a blob of %s decrypts to other bytes", id)
	}
}

// wantUnharmed asks a server how it is: over HTTP, and on its admin socket.
func wantUnharmed(t *testing.T, server *kms11test.Server) {
	t.Helper()
	response, err := http.Get("http://" + server.Listen + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	output, code := kms11test.Command(t, "status", "--data", server.Dir)
	var status struct{ Healthy bool }
	if err := json.Unmarshal([]byte(output), &status); err != nil || code != 0 || !status.Healthy || response.StatusCode != http.StatusOK {
		t.Errorf("healthz answers %d, kms11 status leaves with %d and prints\n%s", response.StatusCode, code, output)
	}
}

// TestTamperedIdentitiesAreRefused edits who the administrator is. Nobody is let in on such a record.
func TestTamperedIdentitiesAreRefused(t *testing.T) {
	server := kms11test.Start(t)
	server.Stop(t)
	accessKeyRecord := accessKeyPrefix + server.Admin(t).Key.AccessKeyID
	for _, c := range []struct{ name, place, old, new string }{
		{"a wider policy", userRecord, `"Resource":"*"`, `"Resource":["*"]`},
		{"another ARN", userRecord, `:user/admin"`, `:root"`},
		{"another principal", accessKeyRecord, `:user/admin"`, `:root"`},
		{"another account", accessKeyRecord, `"account":"` + kms11test.Account, `"account":"444455556666`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var good []byte
			editStore(t, server, func(records *bbolt.Bucket) {
				good = record(t, records, c.place)
				putRecord(t, records, c.place, replaced(t, bytes.Clone(good), c.old, c.new))
			})
			server.Restart(t)
			answer := server.Call(t, "ListKeys", []byte(`{}`))
			if answer.Status != http.StatusInternalServerError || answer.Type != "KMSInternalException" || answer.Message != "" {
				t.Errorf("got %d %s %q", answer.Status, answer.Type, answer.Message)
			}
			if !strings.Contains(server.Log(t), c.place) {
				t.Error("the log does not name the record")
			}
			server.Stop(t)
			editStore(t, server, func(records *bbolt.Bucket) { putRecord(t, records, c.place, good) })
		})
	}
	server.Restart(t)
	wantSuccess(t, server.Call(t, "ListKeys", []byte(`{}`)))
}
