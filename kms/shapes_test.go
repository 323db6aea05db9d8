package kms

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"
)

// parse reads JSON into maps, lists and scalars.
func parse(t testing.TB, text []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// TestRequestsKeepEveryMember decodes a request with all its members, as the SDK writes it, and
// writes it again. The placeholder values break constraints, so validation is left out.
func TestRequestsKeepEveryMember(t *testing.T) {
	for op, body := range snapshots(t, "request") {
		r := operations[op].NewRequest()
		var d decoder
		r.(structure).decode(&d, []byte(body))
		if d.err != nil {
			t.Errorf("%s: %v", op, d.err)
			continue
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(parse(t, again), parse(t, []byte(body))) {
			t.Errorf("%s\n got %s\nwant %s", op, again, body)
		}
		if err := r.Decode([]byte(body)); err != nil && !errors.Is(err, ValidationException) {
			t.Errorf("%s: %v", op, err)
		}
	}
}

// wrongTypes are values that must not stand in the place of a value of each kind.
func wrongTypes(v any) []any {
	list, object := []any{}, map[string]any{}
	switch v.(type) {
	case string:
		return []any{true, 1, 1.5, list, object}
	case float64:
		return []any{"1", false, list, object}
	case bool:
		return []any{"true", 1, list, object}
	case []any:
		return []any{"a", 1, true, object}
	default:
		return []any{"a", 1, true, list}
	}
}

// TestWrongTypes puts values of each wrong JSON type in the place of each member of each request,
// however deep, and of each list element and map value.
func TestWrongTypes(t *testing.T) {
	checked := 0
	for op, body := range snapshots(t, "request") {
		root := parse(t, []byte(body))
		var visit func(path string, v any, set func(any))
		visit = func(path string, v any, set func(any)) {
			for _, wrong := range wrongTypes(v) {
				set(wrong)
				text, err := json.Marshal(root)
				if err != nil {
					t.Fatal(err)
				}
				if err := operations[op].NewRequest().Decode(text); !errors.Is(err, SerializationException) {
					t.Errorf("%s with %v at %s: %v", op, wrong, path, err)
				}
				checked++
			}
			set(v)
			switch v := v.(type) {
			case map[string]any:
				for name, inner := range v {
					visit(path+"."+name, inner, func(x any) { v[name] = x })
				}
			case []any:
				for i, inner := range v {
					visit(fmt.Sprintf("%s[%d]", path, i), inner, func(x any) { v[i] = x })
				}
			}
		}
		visit("", root, func(x any) { root = x })
	}
	if checked < 500 {
		t.Errorf("only %d cases", checked)
	}
}

func TestResponsesRoundTrip(t *testing.T) {
	for op, body := range snapshots(t, "response") {
		if (responseTypes[op] != nil) != operations[op].HasOutput {
			t.Errorf("%s: HasOutput is %v", op, operations[op].HasOutput)
		}
		if responseTypes[op] == nil {
			continue
		}
		r := responseTypes[op]()
		if err := json.Unmarshal([]byte(body), r); err != nil {
			t.Errorf("%s: %v", op, err)
			continue
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(parse(t, again), parse(t, []byte(body))) {
			t.Errorf("%s\n got %s\nwant %s", op, again, body)
		}
	}
}

// TestEmptyResponses shows which members are sent whatever their value.
func TestEmptyResponses(t *testing.T) {
	always := map[string]string{
		"DescribeCustomKeyStores": `{"CustomKeyStores":[],"Truncated":false}`,
		"GetKeyRotationStatus":    `{"KeyRotationEnabled":false}`,
		"ListAliases":             `{"Aliases":[],"Truncated":false}`,
		"ListGrants":              `{"Grants":[],"Truncated":false}`,
		"ListKeyPolicies":         `{"PolicyNames":[],"Truncated":false}`,
		"ListKeyRotations":        `{"Rotations":[],"Truncated":false}`,
		"ListKeys":                `{"Keys":[],"Truncated":false}`,
		"ListResourceTags":        `{"Tags":[],"Truncated":false}`,
		"ListRetirableGrants":     `{"Grants":[],"Truncated":false}`,
		"ReplicateKey":            `{"ReplicaTags":[]}`,
		"Verify":                  `{"SignatureValid":false}`,
		"VerifyMac":               `{"MacValid":false}`,
	}
	for op, newResponse := range responseTypes {
		want, ok := always[op]
		if !ok {
			want = "{}"
		}
		got, err := json.Marshal(newResponse())
		if err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v, want %s", op, got, err, want)
		}
	}
	for want, v := range map[string]any{
		`{"KeyMetadata":{"KeyId":"","Enabled":false,"Description":"","MultiRegion":false}}`: CreateKeyResponse{KeyMetadata: new(KeyMetadata)},
		`{"ReplicaKeys":[]}`: MultiRegionConfiguration{},
		`{"Tags":[{"TagKey":"a","TagValue":""}],"Truncated":false}`: ListResourceTagsResponse{Tags: []Tag{{TagKey: "a"}}},
		`{"Name":""}`:                          GrantListEntry{},
		`{"ReplicaKeys":[{"Region":"a-b-1"}]}`: MultiRegionConfiguration{ReplicaKeys: []MultiRegionKey{{Region: "a-b-1"}}},
	} {
		if got, err := json.Marshal(v); err != nil || string(got) != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
}

// FuzzDecode feeds any body to any operation: no panic, and only the two errors of decoding. What
// was accepted must mean the same when it is written and decoded again.
func FuzzDecode(f *testing.F) {
	all := Operations()
	bodies := snapshots(f, "request")
	for i, op := range all {
		f.Add(uint8(i), []byte(bodies[op.Name]))
	}
	f.Add(uint8(18), []byte(`{"KeyId":"k","Plaintext":"aGk=","EncryptionContext":{"\ud83d\ude00":"\u00e9","":" "}}`))
	f.Add(uint8(18), []byte(`{"a":[[[{"b":"\\\""}]]],"KeyId":"\u006b","Plaintext":"aGk="}`))
	f.Add(uint8(34), []byte(`{"ValidTo":1.5e9,"KeyId":null}`))
	f.Fuzz(func(t *testing.T, i uint8, body []byte) {
		op := all[int(i)%len(all)]
		r := op.NewRequest()
		err := r.Decode(body)
		if err == nil {
			again, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			second := op.NewRequest()
			if err := second.Decode(again); err != nil {
				t.Fatalf("%s: %s: %v", op.Name, again, err)
			}
			if third, _ := json.Marshal(second); string(third) != string(again) {
				t.Errorf("%s\n%s\nbecame\n%s", op.Name, again, third)
			}
			return
		}
		if !errors.Is(err, ValidationException) && !errors.Is(err, SerializationException) {
			t.Errorf("%s: %v", op.Name, err)
		}
	})
}
