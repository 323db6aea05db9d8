package kms

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

// jsonTexts are texts of which some are JSON, and some nearly so.
var jsonTexts = []string{
	``, ` `, `{}`, `[]`, `[ ]`, `{ }`, `null`, `true`, `false`, `nul`, `nulll`, `True`, `"`, `""`, `"\"`, `"\\"`, `"\x"`, `"\u00e"`,
	`"\u00eg"`, `"\uD800"`, `"\/\b\f\n\r\t"`, "\"\t\"", "\"\x7f\"", "\"\xff\"", `"0123456789abcdef\"ü"`, "\"01234567\x1f89\"", `0`, `-0`, `01`,
	`-`, `+1`, `.5`, `1.`, `1.5`, `1e5`, `1E+5`, `1e-05`, `1e`, `1e+`, `-12.34e56 `, `1 2`, `[1,2]`, `[1,]`, `[,1]`, `[1 2]`, `[1}`, `{"a":1]`,
	`[[],{"a":[{}]},null]`, `{"a":1}`, ` { "a" : 1 , "b" : [ ] } `, `{"a":1,}`, `{,"a":1}`, `{"a"}`, `{"a":}`, `{"a" 1}`, `{a:1}`, `{1:1}`,
	`{"a":1 "b":2}`, `{"a":1}{}`, `{"a":1}x`, `{"a":1`, `{"a`, `{"a":[{"b":"]}"}]}`, `]`, `}`, `[`, `{`, "[1\v]", "[1\x00]",
	`{"KeyId":"k","Plaintext":"AA==","EncryptionContext":{"a":"b","a":"c"},"GrantTokens":["t",null],"DryRun":true}`,
	`{"KeyId":1,"Plaintext":"A\u0041=\u003d","Zz":[{"a":1e}]}`, `{"KeyId":null,"KeyId":"","Plaintext":"AA=","DryRun":1,"x":{"y":[tru]}}`,
	`{"K\u0065yId":"\ud83d\ude00","\ud800":{},"EncryptionContext":{"":"\ud800"}}`, `{"EncryptionContext":[],"GrantTokens":{}} `,
}

// TestNesting: brackets may nest as deep as encoding/json lets them, whichever member they are in.
func TestNesting(t *testing.T) {
	for _, c := range []struct {
		deep int // the brackets of a member of the body
		ok   bool
	}{{maxDepth - 1, true}, {maxDepth, false}} {
		for _, pair := range []string{"[]", `{"":}`} {
			opening, closing := pair[:len(pair)-1], pair[len(pair)-1:]
			member := strings.Repeat(opening, c.deep-1) + "[]" + strings.Repeat(closing, c.deep-1)
			body := []byte(`{"KeyId":"k","Zz":` + member + `}`)
			err := new(GetKeyPolicyRequest).Decode(body)
			if json.Valid(body) != c.ok || (err == nil) != c.ok || !c.ok && !errors.Is(err, SerializationException) {
				t.Errorf("%d of %s: %v", c.deep, pair, err)
			}
		}
	}
}

// FuzzJSONValueEnd: a value is what encoding/json has for one, alone and in brackets.
func FuzzJSONValueEnd(f *testing.F) {
	for _, text := range jsonTexts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		end := JSONValueEnd(text, JSONSpaceEnd(text, 0), 0)
		if got := end >= 0 && JSONSpaceEnd(text, end) == len(text); got != json.Valid(text) {
			t.Errorf("%q: taken %v, by encoding/json %v", text, got, !got)
		}
		if end >= 0 && !json.Valid(text[:end]) {
			t.Errorf("%q: the value ends after %q", text, text[:end])
		}
		end = JSONStringEnd(text, 0)
		if is := len(text) > 0 && text[0] == '"' && json.Valid(text); is && end != len(bytes.TrimRight(text, " \t\r\n")) ||
			end >= 0 && !json.Valid(text[:end]) {
			t.Errorf("%q: the string ends at %d", text, end)
		}
	})
}

// FuzzDecodeSyntax: syntax is judged as encoding/json judges it and before all else, and what a valid body
// means does not depend on how it is written.
func FuzzDecodeSyntax(f *testing.F) {
	for _, text := range jsonTexts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var got, again EncryptRequest
		err := got.Decode(body)
		valid := utf8.Valid(body) && (len(body) == 0 || json.Valid(body))
		if bare := err != nil && err.Error() == SerializationException.Err().Error(); bare == valid {
			t.Fatalf("%q: %v", body, err)
		}
		if !valid || len(body) == 0 {
			return
		}
		text := rewritten(t, body)
		if wrong := again.Decode(text); (err == nil) != (wrong == nil) || err != nil && err.Error() != wrong.Error() {
			t.Fatalf("%q: %v\n%q: %v", body, err, text, wrong)
		}
		if err == nil && (!bytes.Equal(got.Plaintext, again.Plaintext) || !bytes.Equal(got.AppendAudit(nil), again.AppendAudit(nil))) {
			t.Fatalf("%q and %q are decoded to other requests", body, text)
		}
	})
}

// rewritten is a valid body as encoding/json splits and writes it: the last of the members of each name.
func rewritten(t *testing.T, body []byte) []byte {
	t.Helper()
	var split any = json.RawMessage(body)
	if body[JSONSpaceEnd(body, 0)] == '{' {
		members := map[string]json.RawMessage{}
		if err := json.Unmarshal(body, &members); err != nil {
			t.Fatal(err)
		}
		split = members
	}
	text, err := json.MarshalIndent(split, " ", "\t")
	if err != nil {
		t.Fatal(err)
	}
	return text
}
