package integration_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/kms11/kms11/integration/kms11test"
)

// TestOtherAPIsHaveEvents has sessions made, identities changed and a key used through the external
// key store proxy, and looks for all of it in the trail, and for no secret.
func TestOtherAPIsHaveEvents(t *testing.T) {
	p := startXKS(t)
	key := *createKey(t, p.Client(t)).KeyId
	alice := p.User(t, kms11test.Account, "alice", everythingSTS)
	p.MustIAM(t, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"sts:AssumeRole"}]}`, "create-role", "--role", "app", "--trust", "-")
	client := p.STS(t, alice)
	must(client.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}))(t)
	made := must(client.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::111122223333:role/app"), RoleSessionName: aws.String("s1")}))(t).Credentials
	if _, err := client.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::111122223333:role/none"), RoleSessionName: aws.String("s2")}); err == nil {
		t.Error("a role that does not exist was taken on")
	}
	const token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2V4YW1wbGUuY29tIn0.c2lnbmF0dXJl"
	if _, err := client.AssumeRoleWithWebIdentity(t.Context(), &sts.AssumeRoleWithWebIdentityInput{
		RoleArn: aws.String("arn:aws:iam::111122223333:role/app"), RoleSessionName: aws.String("s3"), WebIdentityToken: aws.String(token),
	}); err == nil {
		t.Error("a token of nobody was taken")
	}

	p.admin(t, "key", "create", "--prefix", p.prefix, "--id", "k", "--key", key)
	sealed := p.ok(t, "/keys/k/encrypt", encryptBody([]byte("a plaintext that is private"), nil))
	p.ok(t, "/keys/k/decrypt", decryptBody(sealed, nil))
	p.ok(t, "/keys/k/metadata", fields{"requestMetadata": xksMetadata("DescribeKey")})
	p.call(t, "/keys/none/encrypt", encryptBody([]byte("x"), nil)).refused(t, "no such key", "KeyNotFoundException")
	p.call(t, "/keys/k/encrypt", fields{"requestMetadata": xksMetadata("Encrypt")}).refused(t, "no plaintext", "ValidationException")
	unsigned := p.newRequest(t, "/keys/k/encrypt", []byte(`{}`))
	unsigned.Header.Del("Authorization")
	p.send(t, unsigned)
	p.Stop(t)

	records := trailOf(t, filepath.Join(p.Dir, "audit"))
	find := func(source, event, code string) auditRecord {
		t.Helper()
		at := slices.IndexFunc(records, func(r auditRecord) bool {
			return r.EventSource == source && r.EventName == event && r.ErrorCode == code
		})
		if at < 0 {
			t.Errorf("there is no record of %s %s %q", source, event, code)
			return auditRecord{}
		}
		return records[at]
	}
	uid := "uid:" + strconv.Itoa(os.Getuid())
	for _, event := range []string{"CreateUser", "PutUserPolicy", "CreateAccessKey", "CreateRole"} {
		if r := find("iam.amazonaws.com", event, ""); r.UserIdentity["type"] != "Administrator" || r.UserIdentity["principalId"] != uid {
			t.Errorf("%+v", r)
		}
	}
	for _, event := range []string{"CreateXksTenant", "CreateXksCredential", "CreateXksKey"} {
		if r := find("admin.kms11", event, ""); r.UserIdentity["principalId"] != uid || r.RequestParameters["uriPathPrefix"] != p.prefix {
			t.Errorf("%+v", r)
		}
	}
	if r := find("admin.kms11", "CreateXksCredential", ""); r.ResponseElements["accessKeyId"] != p.key.AccessKeyID {
		t.Errorf("%+v", r)
	}
	// The key of a request that is refused is known.
	if r := find("kms.amazonaws.com", "Encrypt", "ValidationException"); len(r.Resources) != 1 {
		t.Errorf("%+v", r)
	}
	if r := find("sts.amazonaws.com", "GetCallerIdentity", ""); r.UserIdentity["userName"] != "alice" || r.RequestID == "" {
		t.Errorf("%+v", r)
	}
	if r := find("sts.amazonaws.com", "AssumeRole", ""); r.ResponseElements["credentials"].(map[string]any)["accessKeyId"] != *made.AccessKeyId || r.SourceIPAddress != "127.0.0.1" {
		t.Errorf("%+v", r)
	}
	find("sts.amazonaws.com", "AssumeRole", "AccessDenied")
	if r := find("sts.amazonaws.com", "AssumeRoleWithWebIdentity", "InvalidIdentityToken"); r.UserIdentity["type"] != "Unknown" || r.RequestParameters["roleSessionName"] != "s3" {
		t.Errorf("%+v", r)
	}
	for _, event := range []string{"Encrypt", "Decrypt", "GetKeyMetadata"} {
		r := find("kms.amazonaws.com", event, "")
		if r.UserIdentity["type"] != "XksTenant" || r.UserIdentity["accessKeyId"] != p.key.AccessKeyID || len(r.Resources) != 1 || !strings.HasSuffix(r.Resources[0].ARN, key) ||
			r.RequestParameters["externalKeyId"] != "k" || r.RequestParameters["awsPrincipalArn"] == nil {
			t.Errorf("%+v", r)
		}
	}
	find("xks.kms11", "Encrypt", "KeyNotFoundException")
	find("xks.kms11", "Encrypt", "AuthenticationFailedException")

	var text strings.Builder
	for _, file := range must(filepath.Glob(filepath.Join(p.Dir, "audit", "events-*.jsonl")))(t) {
		text.Write(must(os.ReadFile(file))(t))
	}
	for _, secret := range []string{
		alice.SecretAccessKey, *made.SecretAccessKey, *made.SessionToken, token, p.key.SecretAccessKey, b64([]byte("a plaintext that is private")), sealed["ciphertext"].(string),
	} {
		if len(secret) < 8 || strings.Contains(text.String(), secret) {
			t.Errorf("the trail holds %.12q...", secret)
		}
	}
	output, code := kms11test.Command(t, "audit", "query", "--data", p.Dir, "--key", key, "--operation", "Decrypt", "--principal", p.prefix)
	if code != 0 || strings.Count(output, "\n") != 1 {
		t.Errorf("audit query left with %d: %s", code, output)
	}
	wantWholeTrail(t, p.Dir)
}

// TestFloodOfStrangers: requests that nobody signed do not fill the disk.
func TestFloodOfStrangers(t *testing.T) {
	server := kms11test.Start(t)
	const flood = 2000
	for range flood {
		answer := must(kms11test.Send(server.NewRequest(t, "ListKeys", []byte(`{}`))))(t)
		if answer.Status != http.StatusBadRequest {
			t.Fatalf("%d", answer.Status)
		}
	}
	server.Stop(t)
	var own, omitted int
	for _, r := range trailOf(t, filepath.Join(server.Dir, "audit")) {
		switch {
		case r.ErrorCode == "MissingAuthenticationTokenException":
			own++
		case r.EventName == "OmitRecords":
			omitted += int(r.ServiceEventDetails["omitted"].(float64))
		}
	}
	if own < 10 || omitted == 0 || own+omitted != flood {
		t.Errorf("%d records and %d omitted, of %d requests", own, omitted, flood)
	}
	wantWholeTrail(t, server.Dir)
}
