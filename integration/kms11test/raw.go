package kms11test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// Answer is what the server said to a raw request.
type Answer struct {
	Status  int
	Header  http.Header
	Body    []byte
	Type    string // "__type" of the body; empty for a success
	Message string // "message" or "Message" of the body
}

// NewRequest makes the request an SDK would send for the operation, unsigned.
func (s *Server) NewRequest(t testing.TB, operation string, body []byte) *http.Request {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Listen+"/", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-amz-json-1.1")
	request.Header.Set("X-Amz-Target", "TrentService."+operation)
	return request
}

// Sign signs the request with AWS's own signer, as the administrator, at the given time.
func (s *Server) Sign(t testing.TB, request *http.Request, body []byte, at time.Time) {
	t.Helper()
	admin := s.Admin(t)
	sum := sha256.Sum256(body)
	err := v4.NewSigner().SignHTTP(t.Context(), admin.Key, request, hex.EncodeToString(sum[:]), "kms", admin.Region, at)
	if err != nil {
		t.Fatal(err)
	}
}

// Send sends the request over a connection of its own.
func Send(request *http.Request) (Answer, error) {
	transport := &http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: time.Minute}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport, Timeout: time.Minute}
	response, err := client.Do(request)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return Answer{}, err
	}
	answer := Answer{Status: response.StatusCode, Header: response.Header, Body: body}
	var fault struct {
		Type    string `json:"__type"`
		Message string `json:"message"` // encoding/json also takes "Message" for it
	}
	if json.Unmarshal(body, &fault) == nil {
		answer.Type, answer.Message = fault.Type, fault.Message
	}
	return answer, nil
}

// Call signs and sends a body for an operation.
func (s *Server) Call(t testing.TB, operation string, body []byte) Answer {
	t.Helper()
	request := s.NewRequest(t, operation, body)
	s.Sign(t, request, body, time.Now())
	answer, err := Send(request)
	if err != nil {
		t.Fatalf("%s: %v", operation, err)
	}
	return answer
}
