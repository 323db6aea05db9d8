package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/ops"
)

// encode writes an operation's output as JSON; operations without output have an empty body.
func encode(buffer *bytes.Buffer, output kms.Response) {
	if output == nil {
		return
	}
	buffer.Grow(usualAnswer)
	buffer.Write(output.AppendJSON(buffer.AvailableBuffer()))
}

// usualAnswer is a size in bytes that no answer with a plaintext passes, so that the plaintext stays in the one
// buffer that is wiped. The longest is GenerateDataKeyPair's for RSA_4096, with some 7,500.
const usualAnswer = 8 << 10

// errorBody is the body of every error. Errors of the authorisation layer spell their text's
// member with a capital M.
type errorBody struct {
	Type           string `json:"__type"`
	Message        string `json:"message,omitempty"`
	CapitalMessage string `json:"Message,omitempty"`
}

// fail is the one place that turns an error into an answer. What is not known to be for clients
// becomes KMSInternalException without a text; its cause goes to the log. It gives the code that the
// client got.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, requestID string, err error) (code string) {
	known := kms.AsError(err)
	status := known.Code.Status()
	if faulty(r, status, err) {
		h.log.Error("request failed", "requestId", requestID, "target", r.Header.Get("X-Amz-Target"), "error", err)
	} else {
		h.log.Debug("request refused", "requestId", requestID, "target", r.Header.Get("X-Amz-Target"), "error", err)
	}
	body := errorBody{Type: string(known.Code), Message: known.Message}
	if known.Code == kms.AccessDeniedException {
		body.Message, body.CapitalMessage = "", known.Message
	}
	text, encodeErr := json.Marshal(body)
	if encodeErr != nil {
		text = []byte(`{"__type":"KMSInternalException"}`)
	}
	w.Header().Set("X-Amzn-ErrorType", string(known.Code))
	respond(w, status, text)
	return string(known.Code)
}

// faulty says whether an answer is by a fault of the server's that the log is to tell of: a client that has
// gone is none, and of a trail that is stopped the trail itself tells once, while anybody's request would be a
// line in the log, maybe on the disk that is full.
func faulty(r *http.Request, status int, err error) bool {
	gone := r.Context().Err() != nil && errors.Is(err, context.Canceled)
	return status >= http.StatusInternalServerError && !gone && !errors.Is(err, ops.ErrTrailStopped)
}
