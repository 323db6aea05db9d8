package integration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

// auditRecord is a record of the trail as far as these tests look at it.
type auditRecord struct {
	EventID, EventName, EventSource, EventType, ErrorCode, RequestID string
	ReadOnly                                                         bool
	SourceIPAddress, UserAgent                                       string
	UserIdentity                                                     map[string]any
	RequestParameters, ResponseElements, ServiceEventDetails         map[string]any
	Resources                                                        []struct{ ARN string }
}

// trailOf reads all records of a server's trail.
func trailOf(t testing.TB, dir string) (all []auditRecord) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "events-*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(text) {
			var r auditRecord
			if err := json.Unmarshal(line, &r); err != nil {
				t.Fatalf("%s: %v: %s", file, err, line)
			}
			all = append(all, r)
		}
	}
	return all
}

// wantWholeTrail has `kms11 audit verify` find nothing.
func wantWholeTrail(t testing.TB, dir string) string {
	t.Helper()
	output, code := kms11test.Command(t, "audit", "verify", "--data", dir)
	if code != 0 || !strings.HasSuffix(output, "whole\n") {
		t.Errorf("audit verify left with %d:\n%s", code, output)
	}
	return output
}

// TestEveryRequestHasItsEvent sends good, refused, malformed and forged requests and wants exactly
// one record of each, with its outcome.
func TestEveryRequestHasItsEvent(t *testing.T) {
	server := kms11test.Start(t)
	key := *createKey(t, server.Client(t)).KeyId
	want := map[string]string{} // request id to operation and code
	note := func(operation string, answer kms11test.Answer) {
		t.Helper()
		id := answer.Header.Get("X-Amzn-Requestid")
		if id == "" || want[id] != "" {
			t.Fatalf("%s: request id %q", operation, id)
		}
		code := answer.Type
		if code == "AccessDeniedException" {
			code = "AccessDenied"
		}
		want[id] = operation + " " + code
	}
	for _, c := range []struct{ operation, body string }{
		{"Encrypt", `{"KeyId":"` + key + `","Plaintext":"AAAA","EncryptionContext":{"purpose":"test"}}`},
		{"Encrypt", `{"KeyId":"` + key + `","Plaintext":"AAAA","DryRun":true}`},
		{"Encrypt", `{"KeyId":"` + unknownKey + `","Plaintext":"AAAA"}`},
		{"Encrypt", `{"KeyId":"` + key + `"`},
		{"Encrypt", `{}`},
		{"Decrypt", `{"CiphertextBlob":"AAAA"}`},
		{"GenerateRandom", `{"NumberOfBytes":8}`},
		{"ListKeys", ``},
		{"DescribeCustomKeyStores", `{}`},
		{"DisableKey", `{"KeyId":"` + key + `"}`},
		{"DisableKey", `{"KeyId":"arn:aws:kms:us-east-1:444455556666:key/` + key + `"}`},
		{"EnableKey", `{"KeyId":"` + key + `"}`},
	} {
		note(c.operation, server.Call(t, c.operation, []byte(c.body)))
	}
	unsigned := server.NewRequest(t, "ListKeys", []byte(`{}`))
	note("ListKeys", must(kms11test.Send(unsigned))(t))
	forged := server.NewRequest(t, "ListKeys", []byte(`{}`))
	server.Sign(t, forged, []byte(`{"Limit":1}`), time.Now())
	note("ListKeys", must(kms11test.Send(forged))(t))
	old := server.NewRequest(t, "ListKeys", []byte(`{}`))
	server.Sign(t, old, []byte(`{}`), time.Now().Add(-time.Hour))
	note("ListKeys", must(kms11test.Send(old))(t))
	server.Stop(t)

	found := map[string]string{}
	for _, r := range trailOf(t, filepath.Join(server.Dir, "audit")) {
		if r.RequestID == "" || want[r.RequestID] == "" {
			continue
		}
		if found[r.RequestID] != "" {
			t.Errorf("request %s has two events", r.RequestID)
		}
		found[r.RequestID] = r.EventName + " " + r.ErrorCode
		if r.SourceIPAddress != "127.0.0.1" || r.UserAgent == "" || r.EventID == "" {
			t.Errorf("%+v", r)
		}
		authenticated := !slices.Contains([]string{"MissingAuthenticationTokenException", "InvalidSignatureException"}, r.ErrorCode)
		if got := r.UserIdentity["userName"] == "admin" && r.UserIdentity["accessKeyId"] == server.Admin(t).Key.AccessKeyID; got != authenticated {
			t.Errorf("%s %s: identity %v", r.EventName, r.ErrorCode, r.UserIdentity)
		}
	}
	for id, outcome := range want {
		if found[id] != outcome {
			t.Errorf("request %s: the event says %q, the answer %q", id, found[id], outcome)
		}
	}
	wantWholeTrail(t, server.Dir)
}

// TestAuditCommands reads a trail by the commands, then changes it.
func TestAuditCommands(t *testing.T) {
	server := kms11test.Start(t)
	client := server.Client(t)
	key := *createKey(t, client).KeyId
	other := *createKey(t, client).KeyId
	for range 3 {
		must(client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: &key, Plaintext: []byte("x")}))(t)
	}
	if _, err := client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: aws.String(unknownKey), Plaintext: []byte("x")}); err == nil {
		t.Fatal("a key that is none encrypted")
	}
	count := func(args ...string) int {
		t.Helper()
		output, code := kms11test.Command(t, append(append([]string{"audit"}, args...), "--data", server.Dir)...)
		if code != 0 {
			t.Errorf("audit %v left with %d: %s", args, code, output)
		}
		return strings.Count(output, "\n")
	}
	for _, c := range []struct {
		want int
		args []string
	}{
		{4, []string{"query", "--key", key}},
		{1, []string{"query", "--key", other}},
		{3, []string{"query", "--operation", "Encrypt", "--error", "none"}},
		{1, []string{"query", "--error", "NotFoundException", "--principal", "admin"}},
		{0, []string{"query", "--until", "2020-01-01T00:00:00Z"}},
		{7, []string{"query", "--since", "1h"}},
		{2, []string{"tail", "-n", "2"}},
		{7, []string{"tail", "-n", "100"}},
	} {
		if got := count(c.args...); got != c.want {
			t.Errorf("audit %v prints %d records, want %d", c.args, got, c.want)
		}
	}
	if output := wantWholeTrail(t, server.Dir); !strings.Contains(output, "records 1 to 7, 7 of them here") {
		t.Errorf("verify prints %s", output)
	}
	if output, code := kms11test.Command(t, "audit", "query", "--data", server.Dir, "--since", "yesterday"); code != 2 {
		t.Errorf("left with %d: %s", code, output)
	}
	if output, code := kms11test.Command(t, "audit", "verify", filepath.Join(server.Dir, "nowhere")); code != 1 {
		t.Errorf("left with %d: %s", code, output)
	}
	server.Stop(t)

	trail := filepath.Join(server.Dir, "audit")
	keys := must(filepath.Glob(filepath.Join(trail, "keys", "*.pem")))(t)
	if output, code := kms11test.Command(t, "audit", "verify", "--public-key", keys[0], trail); code != 0 || strings.Contains(output, "pin it") {
		t.Errorf("left with %d: %s", code, output)
	}
	events := must(filepath.Glob(filepath.Join(trail, "events-*")))(t)[0]
	text := must(os.ReadFile(events))(t)
	if err := os.WriteFile(events, bytes.Replace(text, []byte(`"readOnly":false`), []byte(`"readOnly":true`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if output, code := kms11test.Command(t, "audit", "verify", "--data", server.Dir); code != 5 || !strings.Contains(output, "wrong: events-") {
		t.Errorf("left with %d: %s", code, output)
	}
}

// killRounds is how often TestKillNineAndTheTrail kills: `make integration` asks for 50.
func killRounds(t *testing.T) int {
	text := os.Getenv("KMS11_KILLS")
	if text == "" {
		return 8
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("KMS11_KILLS=%q is not a number", text)
	}
	return n
}

// answered is what the clients were told, by request id.
type answered struct {
	mu   sync.Mutex
	byID map[string]string // operation and code
}

// ask sends a request and notes its answer. An error means that there was none.
func (a *answered) ask(ctx context.Context, t testing.TB, server *kms11test.Server, client *http.Client, operation, body string) (map[string]any, error) {
	request := server.NewRequest(t, operation, []byte(body)).WithContext(ctx)
	server.Sign(t, request, []byte(body), time.Now())
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil && response.ContentLength != 0 {
		return nil, err // cut off by the kill: no answer
	}
	code, _ := answer["__type"].(string)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.byID[response.Header.Get("X-Amzn-Requestid")] = operation + " " + code
	return answer, nil
}

// TestKillNineAndTheTrail kills the server under load, over and over, in strict mode. Afterwards every
// answer that any client got has exactly one record with the same outcome, every key, alias and tag
// of the keystore has the event that made it, and every such event its key, alias or tag.
func TestKillNineAndTheTrail(t *testing.T) {
	rounds := killRounds(t)
	const workers = 6
	server := kms11test.Start(t)
	book := &answered{byID: map[string]string{}}
	begun := time.Now()
	for round := range rounds {
		var killed atomic.Bool
		var running sync.WaitGroup
		progress := make(chan struct{}, 4096)
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}, Timeout: time.Minute}
		for worker := range workers {
			running.Go(func() {
				for i := 0; ; i++ {
					if err := changeSomething(t, server, client, book, fmt.Sprintf("r%d-w%d-i%d", round, worker, i)); err != nil {
						if !killed.Load() {
							t.Errorf("before the kill: %v", err)
						}
						return
					}
					select {
					case progress <- struct{}{}:
					default:
					}
				}
			})
		}
		stopped := make(chan struct{})
		go func() { running.Wait(); close(stopped) }()
		for range 3 + round%9 {
			select {
			case <-progress:
			case <-stopped: // every worker failed: reported above
			}
		}
		killed.Store(true)
		server.Kill(t)
		<-stopped
		client.CloseIdleConnections()
		if t.Failed() {
			return
		}
		server.Restart(t)
		wantWholeTrail(t, server.Dir)
	}
	t.Logf("%d kills in %v; %d requests were answered", rounds, time.Since(begun).Round(time.Second), len(book.byID))
	reconcile(t, server, book)
}

// changeSomething makes a key with an alias and a tag, uses it, and sends requests that fail.
func changeSomething(t testing.TB, server *kms11test.Server, client *http.Client, book *answered, name string) error {
	ctx := context.Background()
	made, err := book.ask(ctx, t, server, client, "CreateKey", `{"Description":"`+name+`"}`)
	if err != nil {
		return err
	}
	metadata, _ := made["KeyMetadata"].(map[string]any)
	id, _ := metadata["KeyId"].(string)
	for _, c := range []struct{ operation, body string }{
		{"Encrypt", `{"KeyId":"` + id + `","Plaintext":"AAAA"}`},
		{"CreateAlias", `{"AliasName":"alias/` + name + `","TargetKeyId":"` + id + `"}`},
		{"Decrypt", `{"CiphertextBlob":"AAAA"}`},
		{"TagResource", `{"KeyId":"` + id + `","Tags":[{"TagKey":"name","TagValue":"` + name + `"}]}`},
		{"CreateAlias", `{"AliasName":"alias/` + name + `","TargetKeyId":"` + id + `"}`},
	} {
		if _, err := book.ask(ctx, t, server, client, c.operation, c.body); err != nil {
			return err
		}
	}
	return nil
}

// reconcile holds what the clients were told and what the keystore has against the trail.
func reconcile(t *testing.T, server *kms11test.Server, book *answered) {
	t.Helper()
	client := server.Client(t)
	keys, tagged, aliases := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for pages := kms.NewListKeysPaginator(client, &kms.ListKeysInput{}); pages.HasMorePages(); {
		for _, entry := range must(pages.NextPage(t.Context()))(t).Keys {
			keys[*entry.KeyArn] = true
			if tags := must(client.ListResourceTags(t.Context(), &kms.ListResourceTagsInput{KeyId: entry.KeyId}))(t).Tags; len(tags) > 0 {
				tagged[*entry.KeyArn] = true
			}
		}
	}
	for pages := kms.NewListAliasesPaginator(client, &kms.ListAliasesInput{}); pages.HasMorePages(); {
		for _, entry := range must(pages.NextPage(t.Context()))(t).Aliases {
			aliases[*entry.AliasName] = true
		}
	}
	server.Stop(t)

	events, outcomes := map[string]bool{}, map[string]string{}
	made := map[string]map[string]int{"CreateKey": {}, "TagResource": {}, "CreateAlias": {}}
	for _, r := range trailOf(t, filepath.Join(server.Dir, "audit")) {
		if events[r.EventID] {
			t.Errorf("event %s is there twice", r.EventID)
		}
		events[r.EventID] = true
		if r.RequestID != "" {
			if outcomes[r.RequestID] != "" {
				t.Errorf("request %s has two records", r.RequestID)
			}
			outcomes[r.RequestID] = r.EventName + " " + r.ErrorCode
		}
		if of := made[r.EventName]; of != nil && r.ErrorCode == "" {
			name, _ := r.RequestParameters["aliasName"].(string)
			if r.EventName != "CreateAlias" {
				name = r.Resources[0].ARN
			}
			of[name]++
		}
	}
	for id, told := range book.byID {
		if outcomes[id] != told {
			t.Errorf("request %s was answered %q; the trail says %q", id, told, outcomes[id])
		}
	}
	for event, there := range map[string]map[string]bool{"CreateKey": keys, "TagResource": tagged, "CreateAlias": aliases} {
		for name := range there {
			if made[event][name] != 1 {
				t.Errorf("%s has %d events %s", name, made[event][name], event)
			}
		}
		for name := range made[event] {
			if !there[name] {
				t.Errorf("an event %s tells of %s, which is not there", event, name)
			}
		}
	}
	if len(keys) < 10 || len(aliases) < 10 || len(tagged) < 5 {
		t.Errorf("only %d keys, %d aliases, %d tags", len(keys), len(aliases), len(tagged))
	}
	wantWholeTrail(t, server.Dir)
}

// TestFullDisk fills the file system of the trail: service stops with a clear state, nothing is
// answered that is not recorded, and service resumes when there is room again.
func TestFullDisk(t *testing.T) {
	parent, err := os.MkdirTemp("", "kms11-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(parent) })
	data, trail := filepath.Join(parent, "data"), filepath.Join(parent, "trail")
	if err := os.Mkdir(trail, 0o700); err != nil {
		t.Fatal(err)
	}
	address := kms11test.FreeAddress(t)
	log := must(os.Create(filepath.Join(parent, "log")))(t)
	defer log.Close()
	// A mount namespace of its own, so that nobody has to be root.
	cmd := exec.Command("unshare", "-Urm", "sh", "-c", `mount -t tmpfs -o size=256k tmpfs "$1" && shift && exec "$@"`, "sh", trail,
		kms11test.Binary(t), "serve", "--data", data, "--listen", address, "--account", kms11test.Account, "--region", kms11test.Region)
	cmd.Env = append(kms11test.ServerEnv(t), "KMS11_AUDIT_DIRECTORY="+trail)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (apt-get install util-linux)", err)
	}
	var exited atomic.Bool
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); exited.Store(true); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("the server's log:\n%s", must(os.ReadFile(log.Name()))(t))
		}
	})
	healthy := func() bool {
		response, err := http.Get("http://" + address + "/healthz")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	}
	await := func(want bool) {
		t.Helper()
		for deadline := time.Now().Add(2 * time.Minute); healthy() != want; time.Sleep(20 * time.Millisecond) {
			if exited.Load() || time.Now().After(deadline) {
				t.Fatalf("the server's health is not %v (unshare needs a kernel with user namespaces, or root)", want)
			}
		}
	}
	await(true)
	server := &kms11test.Server{Dir: data, Listen: address}
	book := &answered{byID: map[string]string{}}
	client := &http.Client{Timeout: time.Minute}
	ask := func(operation, body string) string {
		t.Helper()
		if _, err := book.ask(t.Context(), t, server, client, operation, body); err != nil {
			t.Fatal(err)
		}
		for _, told := range book.byID {
			if strings.Contains(told, "KMSInternalException") {
				clear(book.byID)
				return "KMSInternalException"
			}
		}
		clear(book.byID)
		return ""
	}
	seen := fmt.Sprintf("/proc/%d/root%s", cmd.Process.Pid, trail)
	if got := ask("CreateKey", `{}`); got != "" {
		t.Fatalf("before: %s", got)
	}
	filler := filepath.Join(seen, "filler")
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); err == nil {
		t.Fatal("a disk of 256 KB took a megabyte")
	}
	served := 0
	for ask("CreateKey", `{}`) == "" { // what is left of the last page
		if served++; served > 1000 {
			t.Fatal("a full disk does not stop service")
		}
	}
	await(false)
	output, code := kms11test.Command(t, "status", "--data", data)
	if code == 0 || !strings.Contains(output, "no space left on device") || !strings.Contains(output, "the audit trail cannot be written") {
		t.Errorf("status left with %d: %s", code, output)
	}
	for range 3 {
		if got := ask("GenerateRandom", `{"NumberOfBytes":8}`); got != "KMSInternalException" {
			t.Errorf("while the disk is full: %q", got)
		}
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	await(true)
	if got := ask("CreateKey", `{}`); got != "" {
		t.Errorf("afterwards: %s", got)
	}

	// Every key has its event, also the one whose CreateKey could not be recorded at first.
	keys := must(server.Client(t).ListKeys(t.Context(), &kms.ListKeysInput{Limit: aws.Int32(1000)}))(t).Keys
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		made := map[string]int{}
		for _, r := range trailOf(t, seen) {
			if r.EventName == "CreateKey" && r.ErrorCode == "" {
				made[r.Resources[0].ARN]++
			}
		}
		missing := slices.ContainsFunc(keys, func(k types.KeyListEntry) bool { return made[*k.KeyArn] != 1 })
		if !missing {
			if len(made) != len(keys) {
				t.Errorf("%d events, %d keys", len(made), len(keys))
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("some of %d keys have no event: %v", len(keys), made)
		}
	}
	output, code = kms11test.Command(t, "audit", "verify", seen)
	if code != 0 || !strings.Contains(output, "note: events-") || !strings.Contains(output, "no space left") {
		t.Errorf("audit verify left with %d: %s", code, output)
	}
}
