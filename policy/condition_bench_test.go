package policy

import (
	"runtime"
	"strings"
	"testing"
)

const (
	// benchKey is AWS's example of a key policy with key users, and two statements with conditions.
	benchKey = `{"Version":"2012-10-17","Statement":[
 {"Sid":"Enable IAM User Permissions","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"},
 {"Sid":"Administrators","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/KeyAdmins"},"Action":["kms:Create*","kms:Describe*","kms:Enable*","kms:List*","kms:Put*","kms:Update*","kms:Revoke*","kms:Disable*","kms:Get*","kms:Delete*","kms:TagResource","kms:UntagResource","kms:ScheduleKeyDeletion","kms:CancelKeyDeletion"],"Resource":"*"},
 {"Sid":"Users","Effect":"Allow","Principal":{"AWS":["arn:aws:iam::111122223333:user/bob","arn:aws:iam::444455556666:root"]},"Action":["kms:Encrypt","kms:Decrypt","kms:ReEncrypt*","kms:GenerateDataKey*","kms:DescribeKey"],"Resource":"*"},
 {"Sid":"Grants","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/bob"},"Action":["kms:CreateGrant","kms:ListGrants","kms:RevokeGrant"],"Resource":"*","Condition":{"Bool":{"kms:GrantIsForAWSResource":"true"}}},
 {"Sid":"OnlyFromHere","Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"NotIpAddress":{"aws:SourceIp":["10.0.0.0/8","192.0.2.0/24"]},"Null":{"kms:ViaService":"true"}}}]}`
	benchIdentity = `{"Version":"2012-10-17","Statement":[
 {"Effect":"Allow","Action":["kms:Describe*","kms:Get*","kms:List*"],"Resource":"*"},
 {"Effect":"Allow","Action":["kms:Encrypt","kms:Decrypt"],"Resource":"arn:aws:kms:*:111122223333:key/*","Condition":{
  "StringEquals":{"aws:ResourceTag/team":"${aws:PrincipalTag/team}","kms:EncryptionContext:tenant":["blue","green"]},
  "StringLike":{"kms:RequestAlias":"alias/app-*"}}},
 {"Effect":"Deny","Action":"kms:*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}`
)

func benchRequest() *Request {
	return &Request{
		Principal: Principal{ARN: alice, Account: account}, Action: "kms:Encrypt", Resource: keyARN, Owner: account,
		Attributes: Fixed{
			"aws:resourcetag/team": {"payments"}, "aws:principaltag/team": {"payments"},
			"kms:encryptioncontext:tenant": {"green"}, "kms:requestalias": {"alias/app-1"},
			"aws:sourceip": {"10.1.2.3"}, "aws:securetransport": {"true"},
		},
	}
}

// BenchmarkEvaluate decides by a default key policy and by a typical one with conditions, each with
// an identity policy.
func BenchmarkEvaluate(b *testing.B) {
	for _, c := range []struct{ name, key, identity string }{
		{"default", delegating, oneStatement(`"Effect":"Allow","Action":["kms:Describe*","kms:Encrypt"],"Resource":"arn:aws:kms:*:*:key/*"`)},
		{"conditions", benchKey, benchIdentity},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := benchRequest()
			p := Policies{Resource: mustParse(b, c.key), Identity: []*Document{mustParse(b, c.identity)}}
			b.ReportAllocs()
			for b.Loop() {
				if d := Evaluate(r, p); d.Effect != Allowed {
					b.Fatal(d)
				}
			}
		})
	}
}

// TestEvaluateAllocatesNothing holds what the benchmark shows.
func TestEvaluateAllocatesNothing(t *testing.T) {
	r := benchRequest()
	p := Policies{Resource: mustParse(t, benchKey), Identity: []*Document{mustParse(t, benchIdentity)}}
	if n := testing.AllocsPerRun(100, func() { Evaluate(r, p) }); n != 0 {
		t.Errorf("a decision allocates %v times", n)
	}
}

// TestMemory holds Memory to what a document really takes, within a factor, and documents to a bound
// of their text.
func TestMemory(t *testing.T) {
	for name, text := range map[string]string{
		"typical":          benchKey,
		"small values":     oneStatement(`"Effect":"Allow","Action":"*","Condition":{"NumericEquals":{"a":[` + strings.Repeat("1,", 3000) + `1]}}`),
		"small texts":      oneStatement(`"Effect":"Allow","Action":"*","Condition":{"StringLike":{"a":[` + strings.Repeat(`"*",`, 3000) + `"*"]}}`),
		"variables":        oneStatement(`"Effect":"Allow","Action":"*","Resource":"` + strings.Repeat("${a}", 3000) + `"`),
		"small statements": `{"Statement":[` + strings.Repeat(`{"Effect":"Deny"},`, 1000) + `{"Effect":"Deny"}]}`,
	} {
		const copies = 50 // many, because what other tests left is freed meanwhile
		kept := make([]*Document, copies)
		var before, after runtime.MemStats
		for range 3 { // what pools and finalisers hold goes in later rounds
			runtime.GC()
		}
		runtime.ReadMemStats(&before)
		for i := range kept {
			kept[i] = mustParse(t, text)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		took, says := (int(after.HeapAlloc)-int(before.HeapAlloc))/copies, kept[0].Memory()
		if says*2 < took || says > took*2 {
			t.Errorf("%s: Memory says %d, and it took %d", name, says, took)
		}
		if says > 100*len(text) {
			t.Errorf("%s: %d bytes took %d", name, len(text), says)
		}
		t.Logf("%s: %d bytes of text, %d compiled, %d measured", name, len(text), says, took)
		runtime.KeepAlive(kept)
	}
}

func mustParse(t testing.TB, text string) *Document {
	t.Helper()
	d, err := Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return d
}
