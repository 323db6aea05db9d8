package kms

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// auditTable is what overrides.json and model.json say of audited members.
type auditTable struct {
	Audited map[string][]string
	Shapes  map[string]struct {
		Type, Member string
		Sensitive    bool
		Members      map[string]string
	}
}

func loadAuditTable(t *testing.T) auditTable {
	t.Helper()
	var table auditTable
	for _, name := range []string{"overrides.json", "model.json"} {
		text, err := os.ReadFile(filepath.Join("gen", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &table); err != nil {
			t.Fatal(err)
		}
	}
	return table
}

// fill gives every member of v a value that no other has and tells them apart by path.
func fill(v reflect.Value, path string, values map[string]string) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), path, values)
	case reflect.Struct:
		if at, ok := v.Addr().Interface().(*Timestamp); ok {
			*at = TimestampOf(time.Unix(1_000_000_000+int64(len(values)), 0))
			values[path] = at.UTC().Format(time.RFC3339)
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), path+"."+v.Type().Field(i).Name, values)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(marker(values)))
			values[path] = string(v.Bytes())
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), path, values)
	case reflect.Map:
		key, value := marker(values), marker(values)+"v"
		v.Set(reflect.ValueOf(map[string]string{key: value}))
		values[path] = value
	case reflect.String:
		v.SetString(marker(values))
		values[path] = v.String()
	case reflect.Int:
		v.SetInt(int64(900_000 + len(values)))
		values[path] = fmt.Sprint(v.Int())
	case reflect.Bool:
		v.SetBool(true) // cannot be told apart, and tells nothing
	default:
		panic("a kind that the API has not had so far: " + v.Kind().String())
	}
}

func marker(values map[string]string) string { return fmt.Sprintf("marker%dx", len(values)) }

// TestAuditedMembers walks all requests and responses: the trail shows the members that
// overrides.json lists, and nothing of any other.
func TestAuditedMembers(t *testing.T) {
	table := loadAuditTable(t)
	structures := map[string]Audited{}
	for _, operation := range Operations() {
		request := operation.NewRequest()
		structures[reflect.TypeOf(request).Elem().Name()] = request
		if make, ok := responseTypes[operation.Name]; ok {
			response := make()
			structures[reflect.TypeOf(response).Elem().Name()] = response.(Audited)
		}
	}
	if len(structures) < 90 {
		t.Fatalf("only %d structures", len(structures))
	}
	shown := 0
	for name, structure := range structures {
		values := map[string]string{}
		fill(reflect.ValueOf(structure).Elem(), name, values)
		text := string(structure.AppendAudit(nil))
		if !json.Valid([]byte(text)) {
			t.Errorf("%s: not JSON: %s", name, text)
		}
		for path, value := range values {
			want := table.shows(path)
			if got := strings.Contains(text, value); got != want {
				t.Errorf("%s: shown is %v, want %v: %s", path, got, want, text)
			}
			if want {
				shown++
			}
		}
		if empty := reflect.New(reflect.TypeOf(structure).Elem()).Interface().(Audited); name != "EncryptRequest" && name != "DecryptRequest" && name != "ReEncryptRequest" {
			if text := string(empty.AppendAudit([]byte("x"))); text != "xnull" {
				t.Errorf("an empty %s is %s", name, text)
			}
		}
	}
	if shown < 150 {
		t.Errorf("only %d members are shown", shown)
	}
}

// shows says whether every step of a path is listed and none of it is sensitive or a blob.
func (t auditTable) shows(path string) bool {
	steps := strings.Split(path, ".")
	structure := steps[0]
	for _, member := range steps[1:] {
		if !slices.Contains(t.Audited[structure], member) {
			return false
		}
		shape := t.Shapes[structure].Members[member]
		if t.Shapes[shape].Type == "list" {
			shape = t.Shapes[shape].Member
		}
		if t.Shapes[shape].Sensitive || t.Shapes[shape].Type == "blob" {
			return false
		}
		structure = shape
	}
	return true
}

// TestNoAuditedSecret names what must never be listed, whatever the model marks.
func TestNoAuditedSecret(t *testing.T) {
	for structure, members := range loadAuditTable(t).Audited {
		for _, member := range members {
			for _, part := range []string{"Plaintext", "Ciphertext", "Password", "Secret", "Token", "Credential", "Message", "Signature", "PrivateKey", "ImportToken", "Attestation"} {
				if strings.Contains(member, part) && member != "MessageType" {
					t.Errorf("%s.%s is listed", structure, member)
				}
			}
		}
	}
}

func TestAppendAudit(t *testing.T) {
	for _, c := range []struct {
		in   Audited
		want string
	}{
		{&EncryptRequest{KeyId: "alias/a", Plaintext: []byte("secret"), EncryptionContext: map[string]string{"b": "2\n", "a": `"1"`}, DryRun: true},
			`{"keyId":"alias/a","encryptionContext":{"a":"\"1\"","b":"2\n"},"encryptionAlgorithm":"SYMMETRIC_DEFAULT","dryRun":true}`},
		{&CreateKeyRequest{Tags: []Tag{{"k", "v"}, {"l", ""}}, MultiRegion: true}, `{"tags":[{"tagKey":"k","tagValue":"v"},{"tagKey":"l"}],"multiRegion":true}`},
		{&CreateGrantRequest{KeyId: "k", GrantTokens: []string{"t"}, Operations: []GrantOperation{"Decrypt", "Encrypt"}, Constraints: &GrantConstraints{EncryptionContextSubset: map[string]string{"a": "b"}}},
			`{"keyId":"k","operations":["Decrypt","Encrypt"],"constraints":{"encryptionContextSubset":{"a":"b"}}}`},
		{&CreateGrantResponse{GrantToken: "t", GrantId: "g"}, `{"grantId":"g"}`},
		{&ScheduleKeyDeletionResponse{KeyId: "k", DeletionDate: TimestampOf(time.Unix(1_800_000_000, 0)), PendingWindowInDays: 7},
			`{"keyId":"k","deletionDate":"2027-01-15T08:00:00Z","pendingWindowInDays":7}`},
	} {
		if got := string(c.in.AppendAudit(nil)); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}
