package audit

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tampered makes a trail of three files, with digests over all of it.
func tampered(t *testing.T) *testTrail {
	t.Helper()
	tt := newTestTrail(t)
	trail := tt.open(func(c *Config) { c.RotateBytes = 4000 })
	for range 3 {
		tt.append(trail, 4)
		if err := trail.digest(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	tt.close(trail)
	report := tt.whole(14)
	if n := len(tt.files("events-*")); n < 3 || report.Digests != 4 || report.Covered != 14 {
		t.Fatalf("%d files, %+v", n, report)
	}
	return tt
}

// line changes one line of a file of records; files and lines count from 0.
func (tt *testTrail) lines(file int, change func(lines [][]byte) [][]byte) {
	tt.t.Helper()
	edit(tt.t, tt.files("events-*")[file], func(b []byte) []byte {
		return bytes.Join(change(bytes.SplitAfter(b, []byte("\n"))), nil)
	})
}

// rechain links lines anew behind a head, as somebody does who knows the format and not the key.
func rechain(at head, lines [][]byte) [][]byte {
	var all [][]byte
	for _, line := range lines {
		if len(line) == 0 {
			continue
		}
		i := bytes.LastIndex(line, []byte(chainStart))
		var linked []byte
		linked, at, _ = at.link(nil, append(bytes.Clone(line[:i]), '}'))
		all = append(all, linked)
	}
	return all
}

func (tt *testTrail) digestFiles() []string { return tt.files(filepath.Join(digestDir, "digest-*")) }

// TestTampering changes a trail in every way that somebody could who can write the files, and wants
// Verify to say what and where.
func TestTampering(t *testing.T) {
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	good := tampered(t)
	for name, c := range map[string]struct {
		do    func(t *testing.T, tt *testTrail)
		where string // part of a finding
	}{
		"a byte of a record changed": {func(t *testing.T, tt *testTrail) {
			tt.lines(0, func(l [][]byte) [][]byte { l[1] = bytes.Replace(l[1], []byte("alice"), []byte("mallo"), 1); return l })
		}, "line 3 (record 3): the record before it, 2, is not the one that it names"},
		"a byte of the last record changed": {func(t *testing.T, tt *testTrail) {
			last := len(tt.files("events-*")) - 1
			tt.lines(last, func(l [][]byte) [][]byte {
				l[len(l)-2] = bytes.Replace(l[len(l)-2], []byte("us-east-1"), []byte("us-east-2"), 1)
				return l
			})
		}, "(record 14): it is not the record that digest digest-0000000004"},
		"a record made no JSON": {func(t *testing.T, tt *testTrail) {
			tt.lines(0, func(l [][]byte) [][]byte { l[1][0] = 'x'; return l })
		}, "line 2: it is not a record"},
		"a record removed": {func(t *testing.T, tt *testTrail) {
			tt.lines(1, func(l [][]byte) [][]byte { return slices.Delete(l, 1, 2) })
		}, "are missing before it"},
		"the first record removed": {func(t *testing.T, tt *testTrail) {
			tt.lines(0, func(l [][]byte) [][]byte { return l[1:] })
		}, "line 1 (record 2): records 1 to 1 are missing"},
		"two records swapped": {func(t *testing.T, tt *testTrail) {
			tt.lines(0, func(l [][]byte) [][]byte { l[1], l[2] = l[2], l[1]; return l })
		}, "records were reordered, repeated or inserted"},
		"a record repeated": {func(t *testing.T, tt *testTrail) {
			tt.lines(0, func(l [][]byte) [][]byte { return slices.Insert(l, 2, l[1]) })
		}, "line 3 (record 2): it comes after record 2"},
		"a record of its own inserted": {func(t *testing.T, tt *testTrail) {
			tt.lines(0, func(l [][]byte) [][]byte {
				forged, _, err := head{2, sha256.Sum256(bytes.TrimSuffix(l[1], []byte("\n")))}.link(nil, testEvent(99))
				must(t, err)
				return slices.Insert(l, 2, forged)
			})
		}, "line 4 (record 3): it comes after record 3"},
		"the end of the last record cut off": {func(t *testing.T, tt *testTrail) {
			files := tt.files("events-*")
			edit(t, files[len(files)-1], func(b []byte) []byte { return b[:len(b)-7] })
		}, "the last record is cut off"},
		"the last record cut off": {func(t *testing.T, tt *testTrail) {
			tt.lines(len(tt.files("events-*"))-1, func(l [][]byte) [][]byte { return l[:len(l)-2] })
		}, "(record 14): the file or its records up to this one are gone"},
		"a record in the middle of a file cut off behind": {func(t *testing.T, tt *testTrail) {
			tt.lines(0, func(l [][]byte) [][]byte { return l[:len(l)-2] })
		}, "are missing before it"},
		"all records behind one linked anew": {func(t *testing.T, tt *testTrail) {
			files := tt.files("events-*")
			at := head{}
			for i := range files {
				tt.lines(i, func(l [][]byte) [][]byte {
					if i == 0 {
						l[2] = bytes.Replace(l[2], []byte("alice"), []byte("mallory"), 2)
					}
					l = rechain(at, l)
					last := bytes.TrimSuffix(l[len(l)-1], []byte("\n"))
					p, err := placeOf(last)
					must(t, err)
					at = head{p.sequence, sha256.Sum256(last)}
					return l
				})
			}
		}, "digest digest-0000000001"},
		"a file removed": {func(t *testing.T, tt *testTrail) {
			must(t, os.Remove(tt.files("events-*")[1]))
		}, "are missing before it"},
		"the last file removed": {func(t *testing.T, tt *testTrail) {
			files := tt.files("events-*")
			must(t, os.Remove(files[len(files)-1]))
		}, "are gone: digest digest-0000000004"},
		"the first file removed": {func(t *testing.T, tt *testTrail) {
			must(t, os.Remove(tt.files("events-*")[0]))
		}, "line 1 (record "},
		"a file renamed": {func(t *testing.T, tt *testTrail) {
			must(t, os.Rename(tt.files("events-*")[0], filepath.Join(tt.dir, "events-00000000000000000000-20261125T120000Z.jsonl")))
		}, "it was renamed"},
		"a file doubled": {func(t *testing.T, tt *testTrail) {
			content, err := os.ReadFile(tt.files("events-*")[0])
			must(t, err)
			must(t, os.WriteFile(filepath.Join(tt.dir, "events-00000000000000000001-20261125T120001Z.jsonl"), content, 0o600))
		}, "it comes after record"},
		"a byte of a digest changed": {func(t *testing.T, tt *testTrail) {
			edit(t, tt.digestFiles()[1], func(b []byte) []byte {
				return bytes.Replace(b, []byte(`"lastSequence":9`), []byte(`"lastSequence":8`), 1)
			})
		}, "digest-0000000002-20261125T120000Z.json: its signature is wrong"},
		"a digest removed": {func(t *testing.T, tt *testTrail) {
			must(t, os.Remove(tt.digestFiles()[1]))
		}, "digest-0000000003-20261125T120000Z.json: digests 2 to 2 are missing"},
		"the first digest removed": {func(t *testing.T, tt *testTrail) {
			must(t, os.Remove(tt.digestFiles()[0]))
		}, "digest-0000000002-20261125T120000Z.json: digests 1 to 1 are missing"},
		"a digest renamed": {func(t *testing.T, tt *testTrail) {
			must(t, os.Rename(tt.digestFiles()[3], strings.Replace(tt.digestFiles()[3], "-0000000004-", "-0000000005-", 1)))
		}, "it was moved or renamed"},
		"a digest that is none": {func(t *testing.T, tt *testTrail) {
			edit(t, tt.digestFiles()[2], func([]byte) []byte { return []byte("{}\n") })
		}, "digest-0000000003-20261125T120000Z.json: it is not a digest"},
		"a digest with a member more": {func(t *testing.T, tt *testTrail) {
			edit(t, tt.digestFiles()[2], func(b []byte) []byte { return append([]byte(`{"x":1,`), b[1:]...) })
		}, "it is not a digest"},
		"a signature changed": {func(t *testing.T, tt *testTrail) {
			edit(t, tt.digestFiles()[0], func(b []byte) []byte { b[len(b)-6] ^= 1; return b })
		}, "digest-0000000001-20261125T120000Z.json: its signature"},
		"a signature taken from another digest": {func(t *testing.T, tt *testTrail) {
			other, err := os.ReadFile(tt.digestFiles()[1])
			must(t, err)
			edit(t, tt.digestFiles()[2], func(b []byte) []byte {
				document, _, _ := bytes.Cut(b, []byte("\n"))
				_, seal, _ := bytes.Cut(other, []byte("\n"))
				return slices.Concat(document, []byte("\n"), seal)
			})
		}, "digest-0000000003-20261125T120000Z.json: its signature is wrong"},
		"a digest signed by another key": {func(t *testing.T, tt *testTrail) {
			forge(t, tt, newKey(t), false)
		}, "it was signed by a key that is not trusted"},
		"a digest signed by another key under the old name": {func(t *testing.T, tt *testTrail) {
			forge(t, tt, newKey(t), true)
		}, "its signature is wrong"},
		"everything after the second digest removed": {func(t *testing.T, tt *testTrail) {
			for _, file := range tt.digestFiles()[2:] {
				must(t, os.Remove(file))
			}
			keep := 9 // records
			for i := range tt.files("events-*") {
				tt.lines(i, func(l [][]byte) [][]byte {
					n := min(keep, len(l)-1)
					keep -= n
					return l[:n]
				})
			}
		}, "the trail ends here, but record 14 is known to exist"},
		"the whole trail removed": {func(t *testing.T, tt *testTrail) {
			must(t, os.RemoveAll(tt.dir))
			must(t, os.Mkdir(tt.dir, 0o700))
		}, "record 14 is known to exist"},
	} {
		t.Run(name, func(t *testing.T) {
			tt := *good
			tt.t, tt.dir = t, filepath.Join(t.TempDir(), "audit")
			must(t, os.CopyFS(tt.dir, os.DirFS(good.dir)))
			c.do(t, &tt)
			report := tt.verify(VerifyOptions{AtLeast: 14})
			found := slices.ContainsFunc(report.Findings, func(f Finding) bool { return strings.Contains(f.String(), c.where) })
			if !found {
				t.Errorf("no finding has %q: %v", c.where, report.Findings)
			}
			t.Log(report.Findings)
		})
	}
}

// forge replaces the last digest by one that somebody else signed, with a key that he put beside the
// real one.
func forge(t *testing.T, tt *testTrail, key softKey, keepName bool) {
	t.Helper()
	path := tt.digestFiles()[3]
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, d, _, err := parseDigest(content)
	if err != nil {
		t.Fatal(err)
	}
	if !keepName {
		d.Fingerprint = Fingerprint(key.Public())
	}
	document, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := key.Sign(t.Context(), d.message(document))
	if err != nil {
		t.Fatal(err)
	}
	forged := fmt.Appendf(nil, "%s\n{\"signature\":\"%s\"}\n", document, hex.EncodeToString(signature))
	if err := os.WriteFile(path, forged, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestVerifyWithTheKeysInTheDirectory: they are taken where none is pinned, and somebody who can
// write there gets away with a key of his own. That is why a key can be pinned.
func TestVerifyWithTheKeysInTheDirectory(t *testing.T) {
	tt := tampered(t)
	report, err := Verify(tt.dir, VerifyOptions{})
	if err != nil || len(report.Findings) != 0 {
		t.Errorf("%v, %v", report, err)
	}
	text, err := os.ReadFile(tt.files(filepath.Join(keysDir, "*"))[0])
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParsePublicKey(text)
	if err != nil || !key.Equal(tt.key.Public()) {
		t.Errorf("the exported key: %v", err)
	}
	if report := tt.verify(VerifyOptions{Keys: []*ecdsa.PublicKey{newKey(t).Public()}}); len(report.Findings) != 4 || report.Covered != 0 {
		t.Errorf("with another key: %v", report.Findings)
	}
	edit(t, tt.files(filepath.Join(keysDir, "*"))[0], func([]byte) []byte { return []byte("no key") })
	if report, err = Verify(tt.dir, VerifyOptions{}); err != nil || len(report.Findings) < 4 {
		t.Errorf("without a key: %v, %v", report, err)
	}
}

// TestPartialTrail: what was archived is not missed where that is asked for, and what is left is
// held to the same rules.
func TestPartialTrail(t *testing.T) {
	tt := tampered(t)
	if err := os.Remove(tt.files("events-*")[0]); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(tt.digestFiles()[0]); err != nil {
		t.Fatal(err)
	}
	if report := tt.verify(VerifyOptions{}); len(report.Findings) < 2 {
		t.Errorf("found: %v", report.Findings)
	}
	report := tt.verify(VerifyOptions{Partial: true})
	if len(report.Findings) != 0 || report.Last != 14 || report.First == 1 {
		t.Errorf("partial: %+v", report)
	}
	tt.lines(0, func(l [][]byte) [][]byte { return slices.Delete(l, 1, 2) })
	if report := tt.verify(VerifyOptions{Partial: true}); len(report.Findings) == 0 {
		t.Error("a record that was removed is not missed")
	}
}

func TestParsePublicKey(t *testing.T) {
	for _, text := range []string{"", "x", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
		// Ed25519, RFC 8410, section 10.1
		"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n"} {
		if _, err := ParsePublicKey([]byte(text)); err == nil {
			t.Errorf("%q is a key", text)
		}
	}
}

func FuzzPlaceOf(f *testing.F) {
	good, _, _ := head{6, sha256.Sum256([]byte("x"))}.link(nil, []byte(`{"a":1}`))
	f.Add(bytes.TrimSuffix(good, []byte("\n")))
	f.Add([]byte(`{"a":1,"chain":{"sequence":01,"previous":"00"}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		p, err := placeOf(line)
		if err != nil {
			return
		}
		again := fmt.Appendf(nil, `%s%d%s%x%s`, chainStart, p.sequence, chainPrevious, p.previous, chainEnd)
		if !bytes.HasSuffix(line, again) {
			t.Errorf("%q does not end in %q", line, again)
		}
	})
}

func FuzzParseDigest(f *testing.F) {
	f.Add([]byte("{\"version\":1}\n{\"signature\":\"00\"}\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		document, d, _, err := parseDigest(content)
		if err == nil && (d == nil || !bytes.HasPrefix(content, document)) {
			t.Errorf("%q gives %q", content, document)
		}
	})
}
