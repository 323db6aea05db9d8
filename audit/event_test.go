package audit

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/kms"
)

func TestEvent(t *testing.T) {
	e := Event{
		ID: "event", Time: time.Date(2026, 11, 25, 12, 0, 0, 999, time.FixedZone("", 3600)), Name: "Decrypt", Region: "us-east-1",
		Identity: &Identity{Type: "AssumedRole", PrincipalID: "AROAEXAMPLE:s", ARN: "arn:aws:sts::111122223333:assumed-role/r/s", Account: "111122223333", AccessKeyID: "ASIAEXAMPLE",
			Issuer: Issuer{"AROAEXAMPLE", "arn:aws:iam::111122223333:role/r", "111122223333", "r"}},
		SourceIP: "192.0.2.1", UserAgent: "a \"b\"\n", ErrorCode: "AccessDenied", ErrorMessage: "User: …",
		Parameters: details{{"keyId", "alias/a"}}, Additional: details{{"keyMaterialId", "00"}}, RequestID: "request", ReadOnly: true,
		Resources: [2]Resource{{Account: "111122223333", ARN: "arn:1"}, {Account: "444455556666", ARN: "arn:2"}}, Recipient: "111122223333",
		TLS: TLS{"TLSv1.3", "TLS_AES_128_GCM_SHA256", "kms.test:8443"},
	}
	want := `{"eventVersion":"1.11","userIdentity":{"type":"AssumedRole","principalId":"AROAEXAMPLE:s","arn":"arn:aws:sts::111122223333:assumed-role/r/s",` +
		`"accountId":"111122223333","accessKeyId":"ASIAEXAMPLE","sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROAEXAMPLE",` +
		`"arn":"arn:aws:iam::111122223333:role/r","accountId":"111122223333","userName":"r"},"attributes":{"mfaAuthenticated":"false"}}},` +
		`"eventTime":"2026-11-25T11:00:00Z","eventSource":"kms.amazonaws.com","eventName":"Decrypt","awsRegion":"us-east-1","sourceIPAddress":"192.0.2.1",` +
		`"userAgent":"a \"b\"\n","errorCode":"AccessDenied","errorMessage":"User: …","requestParameters":{"keyId":"alias/a"},"responseElements":null,` +
		`"additionalEventData":{"keyMaterialId":"00"},"requestID":"request","eventID":"event","readOnly":true,` +
		`"resources":[{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"arn:1"},{"accountId":"444455556666","type":"AWS::KMS::Key","ARN":"arn:2"}],` +
		`"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management",` +
		`"tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"kms.test:8443"}}`
	if got := string(e.Append(nil)); got != want || !json.Valid([]byte(got)) {
		t.Errorf("got  %s\nwant %s", got, want)
	}

	// What the service does itself: CloudTrail User Guide, "AWS service events".
	e = Event{ID: "event", Time: time.Unix(1_800_000_000, 0), Name: "RotateKey", Region: "us-west-2", Service: true,
		Identity: &Identity{Account: "111122223333", InvokedBy: "AWS Internal"}, Recipient: "111122223333",
		Details: details{{"rotationType", "AUTOMATIC"}, {"keyId", "k"}}}
	want = `{"eventVersion":"1.11","userIdentity":{"accountId":"111122223333","invokedBy":"AWS Internal"},"eventTime":"2027-01-15T08:00:00Z",` +
		`"eventSource":"kms.amazonaws.com","eventName":"RotateKey","awsRegion":"us-west-2","sourceIPAddress":"AWS Internal","userAgent":"AWS Internal",` +
		`"requestParameters":null,"responseElements":null,"eventID":"event","readOnly":false,"eventType":"AwsServiceEvent","managementEvent":true,` +
		`"recipientAccountId":"111122223333","serviceEventDetails":{"rotationType":"AUTOMATIC","keyId":"k"},"eventCategory":"Management"}`
	if got := string(e.Append(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestEventBounds: nothing that a caller sends makes a record larger than its bounds.
func TestEventBounds(t *testing.T) {
	long := strings.Repeat("ä", 300<<10)
	e := Event{ID: "event", Name: "PutKeyPolicy", UserAgent: long, ErrorMessage: long, ErrorCode: "e", Region: long,
		Parameters: details{{"policy", long}}, Response: details{{"a", strings.Repeat("x", 99<<10)}}}
	text := e.Append(nil)
	if len(text) > 250<<10 || !json.Valid(text) {
		t.Errorf("%d bytes", len(text))
	}
	if !strings.Contains(string(text), `"requestParameters":{"omitted":"more than 100 KB"},"responseElements":{"a":"xxx`) {
		t.Errorf("got %.300s", text)
	}
}

// FuzzEvent: whatever the texts are, an event is one line of JSON that holds them.
func FuzzEvent(f *testing.F) {
	f.Add("agent", "message", "alias/a", "arn")
	f.Add("\"\\\n\u2028", "\xff", `","eventID":"x`, "\x00")
	f.Fuzz(func(t *testing.T, agent, message, key, arn string) {
		e := Event{ID: "the-id", Name: "Encrypt", UserAgent: agent, ErrorCode: "e", ErrorMessage: message, Identity: &Identity{ARN: arn},
			Parameters: details{{key, key}}, Resources: [2]Resource{{Account: "a", ARN: arn}}}
		event := e.Append(nil)
		line, next, err := head{}.link(nil, event)
		if err != nil {
			t.Fatal(err)
		}
		line = line[:len(line)-1]
		if !json.Valid(line) || strings.ContainsRune(string(line), '\n') {
			t.Errorf("%q is not one line of JSON", line)
		}
		if id := eventID(line); id != "the-id" {
			t.Errorf("the id is %q", id)
		}
		if got, err := (head{}).follows(line); err != nil || got != next {
			t.Errorf("it does not follow: %v", err)
		}
	})
}

func TestQuery(t *testing.T) {
	at := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	e := Event{ID: "e", Time: at, Name: "ReEncrypt", ErrorCode: "AccessDenied", Identity: &Identity{Type: "IAMUser", ARN: "arn:aws:iam::111122223333:user/ops/alice", UserName: "alice", PrincipalID: "AIDA"},
		Parameters: details{{"destinationKeyId", "alias/app"}}, Resources: [2]Resource{{Account: "111122223333", ARN: "arn:aws:kms:us-east-1:111122223333:key/k-1"}}}
	line := e.Append(nil)
	for _, c := range []struct {
		f    Filter
		want bool
	}{
		{Filter{}, true},
		{Filter{Key: "k-1"}, true},
		{Filter{Key: "arn:aws:kms:us-east-1:111122223333:key/k-1"}, true},
		{Filter{Key: "alias/app"}, true},
		{Filter{Key: "app"}, true},
		{Filter{Key: "k"}, false},
		{Filter{Operation: "reencrypt"}, true},
		{Filter{Operation: "Encrypt"}, false},
		{Filter{Principal: "alice"}, true},
		{Filter{Principal: "arn:aws:iam::111122223333:user/ops/alice"}, true},
		{Filter{Principal: "AIDA"}, true},
		{Filter{Principal: "lice"}, false},
		{Filter{Since: at, Until: at}, true},
		{Filter{Since: at.Add(time.Second)}, false},
		{Filter{Until: at.Add(-time.Second)}, false},
		{Filter{Error: "any"}, true},
		{Filter{Error: "none"}, false},
		{Filter{Error: "AccessDeniedException"}, true},
		{Filter{Error: "AccessDenied", Key: "k-1", Operation: "ReEncrypt"}, true},
		{Filter{Error: "NotFoundException"}, false},
	} {
		if got := c.f.Match(line); got != c.want {
			t.Errorf("%+v: %v, want %v", c.f, got, c.want)
		}
	}
	if (&Filter{}).Match([]byte("x")) {
		t.Error("what is no record matches")
	}
}

// TestQueryAlias: the ARN of an alias stands for its name in requests of its account and Region.
func TestQueryAlias(t *testing.T) {
	const arn = "arn:aws:kms:us-east-1:111122223333:alias/team/app"
	named := func(account, region, key string) []byte {
		e := Event{ID: "e", Name: "Encrypt", Region: region, Identity: &Identity{Type: "IAMUser", Account: account}, Parameters: details{{"keyId", key}},
			Resources: [2]Resource{{Account: "111122223333", ARN: "arn:aws:kms:us-east-1:111122223333:key/k-1"}}}
		return e.Append(nil)
	}
	for what, c := range map[string]struct {
		line          []byte
		byARN, byName bool
	}{
		"by ARN":                     {named("111122223333", "us-east-1", arn), true, true},
		"by ARN, of another account": {named("444455556666", "us-east-1", arn), true, true},
		"by name":                    {named("111122223333", "us-east-1", "alias/team/app"), true, true},
		"another account's":          {named("444455556666", "us-east-1", "alias/team/app"), false, true},
		"another Region's":           {named("111122223333", "eu-west-1", "alias/team/app"), false, true},
		"another alias":              {named("111122223333", "us-east-1", "alias/app"), false, false},
		"by key id":                  {named("111122223333", "us-east-1", "k-1"), false, false},
	} {
		if got := (&Filter{Key: arn}).Match(c.line); got != c.byARN {
			t.Errorf("the ARN, a request that named it %s: %v", what, got)
		}
		if got := (&Filter{Key: "alias/team/app"}).Match(c.line); got != c.byName {
			t.Errorf("the name, a request that named it %s: %v", what, got)
		}
		if !(&Filter{Key: "k-1"}).Match(c.line) {
			t.Errorf("the key id, a request that named it %s: not found", what)
		}
	}
}

// BenchmarkEvent is the making of a record as Encrypt makes one.
func BenchmarkEvent(b *testing.B) {
	e := Event{ID: kms.NewRequestID(), RequestID: kms.NewRequestID(), Time: time.Now(), Name: "Encrypt", Region: "us-east-1",
		Identity: &Identity{Type: "IAMUser", ARN: "arn:aws:iam::111122223333:user/alice", Account: "111122223333", UserName: "alice", AccessKeyID: "AKIAIOSFODNN7EXAMPLE"},
		SourceIP: "127.0.0.1", UserAgent: "aws-sdk-go-v2/1.47.7 os/linux lang/go#1.26.4 md/GOOS#linux md/GOARCH#amd64 api/kms#1.62.4", ReadOnly: true, Recipient: "111122223333",
		Resources: [2]Resource{{Account: "111122223333", ARN: "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"}}}
	buffer := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buffer = e.Append(buffer[:0])
	}
	b.SetBytes(int64(len(buffer)))
}

// BenchmarkAppend is the taking of a record, on the disk of the temporary directory, by many at once.
func BenchmarkAppend(b *testing.B) {
	for _, mode := range modes() {
		b.Run(string(mode), func(b *testing.B) {
			tt := newTestTrail(b)
			trail := tt.open(inMode(mode), func(c *Config) { c.Now = nil })
			event := testEvent(1)
			b.ReportAllocs()
			b.SetParallelism(16)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if err := trail.Append(event); err != nil {
						b.Error(err)
					}
				}
			})
			b.StopTimer()
			tt.close(trail)
		})
	}
}

// BenchmarkVerify is the checking of a trail, in bytes a second.
func BenchmarkVerify(b *testing.B) {
	tt := newTestTrail(b)
	trail := tt.open(inMode(Async))
	tt.append(trail, 20_000)
	tt.close(trail)
	size := trail.good.size
	b.SetBytes(size)
	for b.Loop() {
		if report := tt.verify(VerifyOptions{}); len(report.Findings) > 0 {
			b.Fatal(report.Findings)
		}
	}
}
