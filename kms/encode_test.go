package kms

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

// TestAppendJSONIsEncodingJSONs fills every structure of every response with random values, some of them
// empty, and compares what it writes with what encoding/json makes of its fields and tags.
func TestAppendJSONIsEncodingJSONs(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for operation, newResponse := range responseTypes {
		for range 20 {
			response := newResponse()
			fillRandom(random, reflect.ValueOf(response).Elem())
			compareJSON(t, operation, reflect.ValueOf(response).Elem())
		}
	}
}

// compareJSON compares one structure, and then those in it.
func compareJSON(t *testing.T, where string, structure reflect.Value) {
	t.Helper()
	fields := slices.Collect(func(yield func(reflect.StructField) bool) {
		for i := range structure.NumField() {
			if !yield(structure.Type().Field(i)) {
				return
			}
		}
	})
	// A type with the same fields and none of the methods.
	want, err := json.Marshal(structure.Convert(reflect.StructOf(fields)).Interface())
	if err != nil {
		t.Fatal(err)
	}
	got := structure.Addr().Interface().(interface{ AppendJSON([]byte) []byte }).AppendJSON([]byte("before"))
	if string(got[:len("before")]) != "before" || !reflect.DeepEqual(parse(t, got[len("before"):]), parse(t, want)) {
		t.Fatalf("%s, %s:\n got %s\nwant %s", where, structure.Type(), got, want)
	}
	for i := range structure.NumField() {
		switch field := structure.Field(i); {
		case field.Kind() == reflect.Pointer && !field.IsNil():
			compareJSON(t, where, field.Elem())
		case field.Kind() == reflect.Slice && field.Type().Elem().Kind() == reflect.Struct:
			for j := range field.Len() {
				compareJSON(t, where, field.Index(j))
			}
		}
	}
}

// fillRandom gives a value of the API a random content. Lists are never nil: encoding/json writes those as null.
func fillRandom(random *rand.Rand, v reflect.Value) {
	empty := random.IntN(4) == 0
	switch v.Interface().(type) {
	case Timestamp:
		if !empty {
			v.Set(reflect.ValueOf(TimestampOf(time.UnixMilli(random.Int64N(4e12)))))
		}
		return
	case []byte:
		v.SetBytes(make([]byte, random.IntN(40)))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fillRandom(random, v.Field(i))
		}
	case reflect.Pointer:
		if !empty {
			v.Set(reflect.New(v.Type().Elem()))
			fillRandom(random, v.Elem())
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), random.IntN(3), 3))
		for i := range v.Len() {
			fillRandom(random, v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range random.IntN(4) {
			v.SetMapIndex(reflect.ValueOf(word(random)), reflect.ValueOf(word(random)))
		}
	case reflect.String:
		if !empty {
			v.SetString(word(random))
		}
	case reflect.Bool:
		v.SetBool(!empty)
	case reflect.Int:
		if !empty {
			v.SetInt(random.Int64N(1e6) - 100)
		}
	}
}

// word is a text with what needs care in JSON.
func word(random *rand.Rand) string {
	parts := []string{"a", "key/", `"`, `\`, "\n", "\x00", "\x7f", "<&>", "\u2028", "ü", "\xff", "😀"}
	text := ""
	for range 1 + random.IntN(5) {
		text += parts[random.IntN(len(parts))]
	}
	return text
}
