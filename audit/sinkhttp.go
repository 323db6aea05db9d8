package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// HTTPSink posts records, one JSON object a line (application/x-ndjson), to a URL. Any status of
// 2xx takes them; anything else, and silence, has them sent again, so that the receiver may get a
// record twice: its eventID tells.
type HTTPSink struct {
	URL    string
	Token  string       // for the header "Authorization: Bearer …"; empty: none
	Client *http.Client // nil: http.DefaultClient
}

// Name implements Sink. It leaves out what may be secret in a URL.
func (s *HTTPSink) Name() string {
	request, err := http.NewRequest(http.MethodPost, s.URL, nil)
	if err != nil {
		return "http"
	}
	return request.URL.Scheme + "://" + request.URL.Host + request.URL.Path
}

// Send implements Sink.
func (s *HTTPSink) Send(ctx context.Context, records []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, bytes.NewReader(records))
	if err != nil {
		return fmt.Errorf("audit sink %s: its URL is not valid", s.Name())
	}
	request.Header.Set("Content-Type", "application/x-ndjson")
	if s.Token != "" {
		request.Header.Set("Authorization", "Bearer "+s.Token)
	}
	client := s.Client
	if client == nil {
		client = http.DefaultClient
	}
	response, err := client.Do(request)
	if err != nil {
		var failed *url.Error // its text has the whole URL
		if errors.As(err, &failed) {
			err = failed.Err
		}
		return fmt.Errorf("audit sink %s: %w", s.Name(), err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<20)) // so that the connection can be used again
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("audit sink %s: it answered %s", s.Name(), response.Status)
	}
	return nil
}

// Close implements Sink.
func (s *HTTPSink) Close() error {
	if s.Client != nil {
		s.Client.CloseIdleConnections()
	}
	return nil
}
