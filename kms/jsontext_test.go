package kms

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// appendJSONByBytes is what AppendJSON is to write, one character after the other.
func appendJSONByBytes(b []byte, s string) []byte {
	short := map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`}
	b = append(b, '"')
	for _, r := range s {
		switch {
		case short[r] != "":
			b = append(b, short[r]...)
		case r < ' ' || r == 0x7f:
			const hex = "0123456789abcdef"
			b = append(b, `\u00`...)
			b = append(b, hex[r>>4], hex[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}

// checkAppendJSON compares AppendJSON with its definition, and what it wrote with what encoding/json reads.
func checkAppendJSON(t *testing.T, s string) {
	t.Helper()
	got, want := AppendJSON([]byte("before"), s), appendJSONByBytes([]byte("before"), s)
	if !bytes.Equal(got, want) {
		t.Fatalf("%q: got %s, want %s", s, got, want)
	}
	var back string
	if err := json.Unmarshal(got[len("before"):], &back); err != nil || back != string([]rune(s)) {
		t.Fatalf("%q: %s is read as %q: %v", s, got, back, err)
	}
	plain := strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf || !plainJSON[r] })
	if plain < 0 {
		plain = len(s)
	}
	if n, m := plainLength(s), plainLength([]byte(s)); n != plain || m != plain {
		t.Fatalf("%q: %d and %d bytes are plain, want %d", s, n, m, plain)
	}
}

// TestAppendJSONAtEveryOffset puts every byte, alone and before every other, at every place of a word and
// of the next.
func TestAppendJSONAtEveryOffset(t *testing.T) {
	for at := range 17 {
		for behind := range 10 {
			text := []byte(strings.Repeat("k", at+1+behind))
			for c := range 256 {
				text[at] = byte(c)
				checkAppendJSON(t, string(text))
			}
		}
		text := []byte(strings.Repeat("k", at+8))
		for c := range 256 {
			for next := range 256 {
				text[at], text[at+1] = byte(c), byte(next)
				if got, want := AppendJSON(nil, string(text)), appendJSONByBytes(nil, string(text)); !bytes.Equal(got, want) {
					t.Fatalf("%q: got %s, want %s", text, got, want)
				}
			}
		}
	}
}

func FuzzAppendJSON(f *testing.F) {
	for _, s := range []string{"", "\"\\\x00\x1f\x7f\n\r\t", "ä€😀", "a\u2028b", "key/1234abcd", "\x00\x1f \x7f\x80\xff", `{"Version":"2012-10-17"}`, "eight  \xed\xa0\x80", "über\u2028😀\ufffd"} {
		f.Add(s)
	}
	f.Fuzz(checkAppendJSON)
}

func BenchmarkAppendJSON(b *testing.B) {
	for name, s := range map[string]string{
		"short":   "Encrypt",
		"arn":     "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
		"escapes": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}`,
	} {
		b.Run(name, func(b *testing.B) {
			var to []byte
			b.ReportAllocs()
			for b.Loop() {
				to = AppendJSON(to[:0], s)
			}
		})
	}
}
