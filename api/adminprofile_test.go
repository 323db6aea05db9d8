package api

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestProfiles asks for a profile of each sort.
func TestProfiles(t *testing.T) {
	mux := http.NewServeMux()
	registerProfiles(mux)
	server := httptest.NewServer(mux)
	defer server.Close()
	for path, start := range map[string]string{
		"/debug/pprof/profile?seconds=1":   "\x1f\x8b", // gzip
		"/debug/pprof/heap":                "\x1f\x8b",
		"/debug/pprof/goroutine?debug=1":   "goroutine profile: total ",
		"/debug/pprof/nothing-of-the-sort": "Unknown profile",
	} {
		response, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || !bytes.HasPrefix(body, []byte(start)) || (response.StatusCode == http.StatusOK) == (start == "Unknown profile") {
			t.Errorf("%s: %d, %v, %.40q", path, response.StatusCode, err, body)
		}
	}
}
