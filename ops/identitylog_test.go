package ops

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
)

// TestIdentitiesAreLogged: who changes users and roles, and who begins a session, leaves a line in the
// log, and no secret.
func TestIdentitiesAreLogged(t *testing.T) {
	h := newHarness(t)
	var log bytes.Buffer
	h.service.log = slog.New(slog.NewTextHandler(&log, nil))
	administer := func(action, request string) any {
		t.Helper()
		answer, err := h.service.Administer(t.Context(), action, []byte(request))
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	const secret = "abcdefghijklmnopqrstuvwxyz0123456789ABCD"
	administer("create-user", `{"name":"alice"}`)
	made, err := json.Marshal(administer("create-access-key", `{"user":"alice"}`))
	if err != nil {
		t.Fatal(err)
	}
	var key AccessKey
	if err := json.Unmarshal(made, &key); err != nil || key.Secret == "" {
		t.Fatalf("no access key: %v", err)
	}
	administer("seal", `{"accessKeyId":"AKIAIOSFODNN7EXAMPLE","secretAccessKey":"`+secret+`"}`)
	administer("list", `{}`)
	if _, err := h.service.Administer(t.Context(), "delete-user", []byte(`{"name":"nobody"}`)); err == nil {
		t.Fatal("a user that there is not was deleted")
	}
	h.role(account, "app", trust(`{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}`))
	session := must(h.service.AssumeRole(t.Context(), h.signedBy(key), &AssumeRoleRequest{RoleARN: roleARN(account, "app"), RoleSessionName: "session"}))(t)

	text := log.String()
	for _, want := range []string{
		"msg=administration action=create-user account=" + account + " name=alice\n",
		"msg=administration action=create-access-key account=" + account + " user=alice\n",
		"action=seal account=" + account + " accessKeyId=AKIAIOSFODNN7EXAMPLE\n",
		"action=delete-user account=" + account + " name=nobody error=",
		"by=" + userARN(account, "alice"),
		"session=" + session.ARN + " accessKeyId=" + session.Credentials.ID,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the log lacks %q", want)
		}
	}
	for name, never := range map[string]string{
		"a new secret": key.Secret, "a sealed secret": secret, "a session's secret": session.Credentials.Secret, "a session token": session.Credentials.Token,
		"what changes nothing": "action=list",
	} {
		if strings.Contains(text, never) {
			t.Errorf("the log has %s", name)
		}
	}
}
