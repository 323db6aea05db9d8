package ops_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/ops"
)

// envelope is a record as docs/formats.md draws it in "Envelope".
type envelope struct {
	kind           byte
	contentVersion uint16
	recordKey      uint32
	revision       uint64
	content        []byte
	signed, mac    []byte // the envelope up to the MAC, and that
}

func decodeEnvelope(raw []byte) (e envelope, err error) {
	if len(raw) < 20+32 || raw[0] != 1 {
		return e, errors.New("not an envelope of version 1")
	}
	e.kind = raw[1]
	e.contentVersion = binary.BigEndian.Uint16(raw[2:])
	e.recordKey = binary.BigEndian.Uint32(raw[4:])
	e.revision = binary.BigEndian.Uint64(raw[8:])
	n := uint64(binary.BigEndian.Uint32(raw[16:]))
	if uint64(len(raw)) != 20+n+32 {
		return e, fmt.Errorf("%d bytes with a content of %d", len(raw), n)
	}
	e.content, e.signed, e.mac = raw[20:20+n], raw[:20+n], raw[20+n:]
	return e, nil
}

func (e envelope) macInput(storeID, engineKey string) []byte {
	input := []byte("kms11 store record 1\x00")
	for _, text := range []string{storeID, engineKey} {
		input = binary.BigEndian.AppendUint32(input, uint32(len(text)))
		input = append(input, text...)
	}
	return append(input, e.signed...)
}

// level is one of the five levels of an engine key, as it is written.
var level = regexp.MustCompile(`^([!-$&-.0-~]|%(0[0-9A-F]|1[0-9A-F]|2[05DF]|7F|[89A-F][0-9A-F]))+$`)

// splitEngineKey gives the five levels; one that does not apply is empty.
func splitEngineKey(text string) (levels [5]string, err error) {
	parts := strings.Split(text, "/")
	if len(parts) != 5 || len(text) > 4096 {
		return levels, fmt.Errorf("%q is no engine key", text)
	}
	for i, part := range parts {
		if !level.MatchString(part) || strings.Contains(part, "%2D") && part != "%2D" {
			return levels, fmt.Errorf("%q is not written as a level is", part)
		}
		if part == "-" {
			continue
		}
		for len(part) > 0 {
			if part[0] == '%' {
				b, err := hex.DecodeString(part[1:3])
				if err != nil {
					return levels, err
				}
				levels[i], part = levels[i]+string(b), part[3:]
				continue
			}
			levels[i], part = levels[i]+part[:1], part[1:]
		}
	}
	return levels, nil
}

// TestStoreReadOutside reads every record of the keystore's file.
func TestStoreReadOutside(t *testing.T) {
	o := newOutside(t, hsmtest.Domain(t))
	administrator, err := o.service.CreateAdministrator(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	role := ops.CreateRoleRequest{Name: "app", Trust: json.RawMessage(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}}`)}
	if _, err := o.service.CreateRole(t.Context(), new(ops.Call), &role); err != nil {
		t.Fatal(err)
	}
	o.must("Encrypt", kms.EncryptRequest{KeyId: singleKey, Plaintext: []byte("used")})
	if err := o.service.WriteLastUses(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.close()
	records := readBucket(t, o.path)

	raw, found := records["-/-/-/header/store"]
	if !found {
		t.Fatal("no header")
	}
	header, err := decodeEnvelope(raw)
	if err != nil {
		t.Fatal(err)
	}
	var head struct{ StoreID string }
	if err := json.Unmarshal(header.content, &head); err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for engineKey, raw := range records {
		kind, err := o.checkRecord(engineKey, raw, head.StoreID, header.revision)
		if err != nil {
			t.Errorf("%s: %v", engineKey, err)
		}
		count[kind]++
	}
	if want := map[string]int{"header": 1, "key": 2, "due": 2, "user": 1, "role": 1, "access-key": 1, "last-usage": 1, "key-count": 1}; fmt.Sprint(count) != fmt.Sprint(want) {
		t.Errorf("records by kind: %v, want %v", count, want)
	}
	// Creating the store is revision 1; five transactions followed.
	if header.revision != 6 {
		t.Errorf("the store is at revision %d", header.revision)
	}
	o.checkDomain(header.content)
	o.checkSealedSecret(records["-/-/-/access-key/"+administrator.ID], administrator)
}

// checkRecord holds one record against the page and gives its kind.
func (o *outside) checkRecord(engineKey string, raw []byte, storeID string, newest uint64) (string, error) {
	levels, err := splitEngineKey(engineKey)
	if err != nil {
		return "", err
	}
	name := levels[3]
	kind, known := kinds[name]
	if !known {
		return name, errors.New("a kind that the page does not know")
	}
	e, err := decodeEnvelope(raw)
	if err != nil {
		return name, err
	}
	if e.kind != kind.code || e.contentVersion != max(1, kind.version) || e.revision < 1 || e.revision > newest || len(raw) > 1<<20 {
		return name, fmt.Errorf("kind %d, content version %d, revision %d, %d bytes", e.kind, e.contentVersion, e.revision, len(raw))
	}
	if name == "header" {
		storeID = ""
	}
	mac, err := o.domain.MAC(o.t.Context(), e.recordKey, e.macInput(storeID, engineKey))
	if err != nil {
		return name, err
	}
	if !bytes.Equal(mac, e.mac) {
		return name, errors.New("the token makes another MAC")
	}
	var content any
	if err := json.Unmarshal(e.content, &content); err != nil {
		return name, err
	}
	if err := kind.shape.check(content); err != nil {
		return name, err
	}
	for i, member := range kind.levels {
		switch {
		case member == "=":
			if dueID(content.(map[string]any)) != levels[i] {
				return name, errors.New("the id is not made of the members")
			}
		case strings.HasPrefix(member, "'"):
			if levels[i] != member[1:] {
				return name, fmt.Errorf("level %d is %s", i, levels[i])
			}
		case member != "":
			if content.(map[string]any)[member] != levels[i] {
				return name, fmt.Errorf("the %s is not that of the engine key", member)
			}
		case i != 3 && name != "header" && levels[i] != "":
			return name, fmt.Errorf("level %d applies", i)
		}
	}
	return name, nil
}

// checkDomain reads the header's description of the domain's keys.
func (o *outside) checkDomain(content []byte) {
	var header struct {
		Domain struct {
			ID   string
			Keys []struct {
				Role            string
				Version         uint32
				ObjectID, Check []byte
			}
		}
	}
	if err := json.Unmarshal(content, &header); err != nil {
		o.t.Fatal(err)
	}
	roles := map[string]struct {
		code byte
		size int
	}{"domain": {1, 73}, "record": {2, 33}, "sealing": {3, 40}}
	seen := map[string]bool{}
	for _, key := range header.Domain.Keys {
		role := roles[key.Role]
		id, _ := hex.DecodeString(header.Domain.ID)
		id = binary.BigEndian.AppendUint32(append(id, role.code), key.Version)
		if !bytes.Equal(key.ObjectID, id) || len(key.Check) != role.size || key.Check[0] != 1 {
			o.t.Errorf("%s key: CKA_ID %x, a check of %d bytes", key.Role, key.ObjectID, len(key.Check))
		}
		if key.Role == "record" {
			mac, err := o.domain.MAC(o.t.Context(), key.Version, []byte("kms11 check"))
			if err != nil || !bytes.Equal(mac, key.Check[1:]) {
				o.t.Errorf("the record key's check is not what it answers: %v", err)
			}
		}
		seen[key.Role] = true
	}
	if len(seen) != len(roles) {
		o.t.Errorf("the header describes the keys %v", seen)
	}
}

func (o *outside) checkSealedSecret(raw []byte, administrator ops.AccessKey) {
	e, err := decodeEnvelope(raw)
	if err != nil {
		o.t.Fatal(err)
	}
	var content struct{ SealedSecret []byte }
	if err := json.Unmarshal(e.content, &content); err != nil {
		o.t.Fatal(err)
	}
	sealed := content.SealedSecret
	if len(sealed) != 33+len(administrator.Secret) || !bytes.Equal(sealed[:5], []byte{1, 0, 0, 0, 1}) {
		o.t.Errorf("a sealed secret of %d bytes for one of %d", len(sealed), len(administrator.Secret))
	}
	secret, err := o.domain.Open(o.t.Context(), "access-key/"+administrator.ID, sealed)
	if err != nil || string(secret) != administrator.Secret {
		o.t.Errorf("the sealed secret is another: %v", err)
	}
}

// readBucket gives all engine keys and envelopes of a file that is not in use.
func readBucket(t *testing.T, path string) map[string][]byte {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	records := map[string][]byte{}
	err = db.View(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket([]byte("kms11"))
		if bucket == nil {
			return errors.New("no bucket kms11")
		}
		return bucket.ForEach(func(key, value []byte) error {
			records[string(key)] = bytes.Clone(value)
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return records
}
