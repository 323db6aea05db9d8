package integration_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kms11/kms11/integration/kms11test"
)

// TestBadInput sends what no SDK would. Every request is refused by AWS's code with status 400,
// and the server serves as before.
func TestBadInput(t *testing.T) {
	server := kms11test.Start(t)
	key := *createKey(t, server.Client(t)).KeyId
	encrypt := func(plaintext []byte) string {
		return fmt.Sprintf(`{"KeyId":%q,"Plaintext":%q}`, key, base64.StdEncoding.EncodeToString(plaintext))
	}
	small := encrypt([]byte("x"))

	cases := []struct {
		name      string
		operation string
		body      string
		code      string
		message   string // a part of it
	}{
		{"an operation that is none", "Nope", `{}`, "UnknownOperationException", ""},
		{"an operation in lower case", "encrypt", small, "UnknownOperationException", ""},
		{"no operation", "", `{}`, "UnknownOperationException", ""},
		{"a number for a string", "Encrypt", `{"KeyId":5,"Plaintext":"eA=="}`, "SerializationException", ""},
		{"a list for a string", "DescribeKey", `{"KeyId":["` + key + `"]}`, "SerializationException", ""},
		{"an object for a blob", "Encrypt", `{"KeyId":"` + key + `","Plaintext":{}}`, "SerializationException", ""},
		{"a string for a map", "Encrypt", `{"KeyId":"` + key + `","Plaintext":"eA==","EncryptionContext":"a"}`, "SerializationException", ""},
		{"a number in a string map", "Encrypt", `{"KeyId":"` + key + `","Plaintext":"eA==","EncryptionContext":{"a":1}}`, "SerializationException", ""},
		{"a string for an integer", "ListKeys", `{"Limit":"many"}`, "SerializationException", ""},
		{"an integer beyond 64 bits", "ListKeys", `{"Limit":99999999999999999999999}`, "SerializationException", ""},
		{"a string for a boolean", "Encrypt", `{"KeyId":"` + key + `","Plaintext":"eA==","DryRun":"perhaps"}`, "SerializationException", ""},
		{"trailing garbage", "Encrypt", small + `x`, "SerializationException", ""},
		{"a second object", "Encrypt", small + `{}`, "SerializationException", ""},
		{"cut off", "Encrypt", small[:len(small)-1], "SerializationException", ""},
		{"a list as body", "ListKeys", `[]`, "SerializationException", ""},
		{"a string as body", "ListKeys", `"x"`, "SerializationException", ""},
		{"no JSON", "ListKeys", "\x00\x01\x02", "SerializationException", ""},
		{"deep nesting", "ListKeys", strings.Repeat(`{"a":`, 50_000) + `1` + strings.Repeat(`}`, 50_000), "SerializationException", ""},
		{"bad base64", "Encrypt", `{"KeyId":"` + key + `","Plaintext":"!!!!"}`, "SerializationException", ""},
		{"base64 cut off", "Encrypt", `{"KeyId":"` + key + `","Plaintext":"eA"}`, "SerializationException", ""},
		{"a context that is not UTF-8", "Encrypt", `{"KeyId":"` + key + `","Plaintext":"eA==","EncryptionContext":{"a":"` + "\xff" + `"}}`, "SerializationException", ""},
		{"no key", "Encrypt", `{"Plaintext":"eA=="}`, "ValidationException", "Value null at 'keyId' failed to satisfy constraint: Member must not be null"},
		{"an empty key", "Encrypt", `{"KeyId":"","Plaintext":"eA=="}`, "ValidationException", "'keyId'"},
		{"a key of 2049 characters", "Encrypt", `{"KeyId":"` + strings.Repeat("k", 2049) + `","Plaintext":"eA=="}`, "ValidationException", "'keyId'"},
		{"an empty plaintext", "Encrypt", encrypt(nil), "ValidationException", "Value at 'plaintext' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"a plaintext of 4097 bytes", "Encrypt", encrypt(make([]byte, 4097)), "ValidationException", "Value at 'plaintext' failed to satisfy constraint: Member must have length less than or equal to 4096"},
		{"an algorithm that is none", "Encrypt", `{"KeyId":"` + key + `","Plaintext":"eA==","EncryptionAlgorithm":"ROT13"}`, "ValidationException", "Value 'ROT13' at 'encryptionAlgorithm' failed to satisfy constraint: Member must satisfy enum value set: ["},
		{"an unknown key", "Encrypt", strings.Replace(small, key, unknownKey, 1), "NotFoundException", "Key '" + arnPrefix + unknownKey + "' does not exist"},
		{"a key id that is a path", "DescribeKey", `{"KeyId":"../../header/store"}`, "NotFoundException", "Invalid keyId"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			answer := server.Call(t, c.operation, []byte(c.body))
			wantFault(t, answer, c.code, c.message)
			if strings.Contains(answer.Message, "eA==") {
				t.Error("the message repeats the plaintext")
			}
		})
	}

	t.Run("unknown members are ignored", func(t *testing.T) {
		answer := server.Call(t, "Encrypt", []byte(strings.TrimSuffix(small, "}")+`,"NewMember":{"a":[1,null]},"plaintext":7}`))
		wantSuccess(t, answer)
	})
	t.Run("null is absent", func(t *testing.T) {
		answer := server.Call(t, "Encrypt", []byte(strings.TrimSuffix(small, "}")+`,"EncryptionContext":null,"GrantTokens":null,"DryRun":null}`))
		wantSuccess(t, answer)
	})
	wantSuccess(t, server.Call(t, "Encrypt", []byte(small)))
}

// TestBadSignatures sends good requests by strangers, or at the wrong time.
func TestBadSignatures(t *testing.T) {
	server := kms11test.Start(t)
	body := []byte(`{}`)
	signed := func(at time.Time) *http.Request {
		request := server.NewRequest(t, "ListKeys", body)
		server.Sign(t, request, body, at)
		return request
	}
	now := time.Now()
	changed := func(change func(*http.Request)) *http.Request {
		request := signed(now)
		change(request)
		return request
	}
	authorization := func(old, new string) *http.Request {
		return changed(func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), old, new, 1))
		})
	}
	key := server.Admin(t).Key.AccessKeyID

	const mismatch = "The request signature we calculated does not match the signature you provided."
	cases := []struct {
		name    string
		request *http.Request
		code    string
		message string // a part of it
	}{
		{"unsigned", server.NewRequest(t, "ListKeys", body), "MissingAuthenticationTokenException", "Missing Authentication Token"},
		{"a body that was not signed", changed(func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(`{ }`)), 3
		}), "InvalidSignatureException", mismatch},
		{"another operation than was signed", changed(func(r *http.Request) {
			r.Header.Set("X-Amz-Target", "TrentService.CreateKey")
		}), "InvalidSignatureException", mismatch},
		{"a digit of the signature", changed(func(r *http.Request) {
			value := r.Header.Get("Authorization")
			last := map[bool]string{true: "1", false: "0"}[strings.HasSuffix(value, "0")]
			r.Header.Set("Authorization", value[:len(value)-1]+last)
		}), "InvalidSignatureException", mismatch},
		{"an access key that is none", authorization(key, "AKIAIOSFODNN7EXAMPLE"), "UnrecognizedClientException", "The security token included in the request is invalid."},
		{"another Region's scope", authorization("/"+kms11test.Region+"/", "/nowhere-1/"), "InvalidSignatureException", "Credential should be scoped to a valid region"},
		{"another service's scope", authorization("/kms/", "/s3/"), "InvalidSignatureException", "Credential should be scoped to correct service"},
		{"no signature in the header", changed(func(r *http.Request) {
			value, _, _ := strings.Cut(r.Header.Get("Authorization"), ", Signature=")
			r.Header.Set("Authorization", value)
		}), "IncompleteSignatureException", ""},
		{"a clock 20 minutes behind", signed(now.Add(-20 * time.Minute)), "InvalidSignatureException", "Signature expired"},
		{"a clock 20 minutes ahead", signed(now.Add(20 * time.Minute)), "InvalidSignatureException", "Signature not yet current"},
		{"another year", signed(now.AddDate(-1, 0, 0)), "InvalidSignatureException", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			answer, err := kms11test.Send(c.request)
			if err != nil {
				t.Fatal(err)
			}
			wantFault(t, answer, c.code, c.message)
		})
	}
	for _, skew := range []time.Duration{-3 * time.Minute, 3 * time.Minute} {
		wantSuccess(t, must(kms11test.Send(signed(time.Now().Add(skew))))(t))
	}
}

// TestHugeAndBrokenRequests tries to make the server hold much memory or lose its footing.
func TestHugeAndBrokenRequests(t *testing.T) {
	server := kms11test.Start(t)
	huge := bytes.Repeat([]byte("x"), 10<<20)

	t.Run("10 MB announced", func(t *testing.T) {
		request := server.NewRequest(t, "ListKeys", huge)
		server.Sign(t, request, huge, time.Now())
		// With Expect the server can refuse by the length alone, before a byte is sent.
		request.Header.Set("Expect", "100-continue")
		answer, err := kms11test.Send(request)
		if err != nil {
			t.Fatal(err)
		}
		if answer.Status != http.StatusRequestEntityTooLarge || answer.Type == "" {
			t.Errorf("got %d %s", answer.Status, answer.Type)
		}
	})
	t.Run("10 MB in chunks", func(t *testing.T) {
		request := server.NewRequest(t, "ListKeys", nil)
		server.Sign(t, request, nil, time.Now())
		request.Body, request.ContentLength = io.NopCloser(bytes.NewReader(huge)), -1
		// The server may answer, or close the connection on a client that is still sending.
		if answer, err := kms11test.Send(request); err == nil && answer.Status != http.StatusRequestEntityTooLarge {
			t.Errorf("got %d %s", answer.Status, answer.Type)
		}
	})
	for name, method := range map[string]string{"GET": http.MethodGet, "PUT": http.MethodPut} {
		t.Run(name, func(t *testing.T) {
			request := server.NewRequest(t, "ListKeys", []byte(`{}`))
			request.Method = method
			server.Sign(t, request, []byte(`{}`), time.Now())
			if answer := must(kms11test.Send(request))(t); answer.Status < 400 || answer.Status > 499 {
				t.Errorf("got %d %s", answer.Status, answer.Type)
			}
		})
	}
	head := "POST / HTTP/1.1\r\nHost: " + server.Listen + "\r\nX-Amz-Target: TrentService.ListKeys\r\n"
	for name, bytes := range map[string]string{
		"no HTTP":                  "\x16\x03\x01\x00\x05hello\r\n\r\n",
		"a body that stops short":  head + "Content-Length: 100\r\n\r\n{",
		"a length that is none":    head + "Content-Length: -1\r\n\r\n",
		"two lengths":              head + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
		"a chunk size that is not": head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
		"2 MB of headers":          head + "X-Long: " + strings.Repeat("x", 2<<20) + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) { sendBroken(t, server.Listen, bytes) })
	}
	wantSuccess(t, server.Call(t, "ListKeys", []byte(`{}`)))
}

// sendBroken writes the bytes, ends its side, and waits until the server has ended its own.
func sendBroken(t *testing.T, address, text string) {
	t.Helper()
	connection, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(connection, text); err == nil {
		_ = connection.(*net.TCPConn).CloseWrite() // the server may have closed first
	}
	answer, err := io.ReadAll(connection)
	if nerr, ok := err.(net.Error); ok && nerr.Timeout() {
		t.Error("the server left the connection open")
	}
	if strings.HasPrefix(string(answer), "HTTP/1.1 2") {
		t.Error("the server took it")
	}
}

// wantFault checks all that an AWS error answer must have.
func wantFault(t testing.TB, answer kms11test.Answer, code, messagePart string) {
	t.Helper()
	if answer.Status != http.StatusBadRequest || answer.Type != code || !strings.Contains(answer.Message, messagePart) {
		t.Errorf("got %d %s %q, want 400 %s with %q", answer.Status, answer.Type, answer.Message, code, messagePart)
	}
	if kind := answer.Header.Get("Content-Type"); kind != "application/x-amz-json-1.1" {
		t.Errorf("the Content-Type is %q", kind)
	}
	if answer.Header.Get("X-Amzn-Requestid") == "" {
		t.Error("no request id")
	}
}

func wantSuccess(t testing.TB, answer kms11test.Answer) {
	t.Helper()
	if answer.Status != http.StatusOK || !json.Valid(answer.Body) {
		t.Errorf("got %d %s %q", answer.Status, answer.Type, answer.Message)
	}
}
