package api

import (
	"encoding/json"
	"net/http"

	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/ops"
)

// AdminError is the body of an answer on the admin socket that is not 200.
type AdminError struct {
	Message string `json:"message"`
}

// explainHandler answers POST /policy/explain: an ops.ExplainRequest, answered by an
// ops.Explanation.
func explainHandler(service *ops.Service) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in ops.ExplainRequest
		w.Header().Set("Content-Type", "application/json")
		decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, MaxBody))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&in); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			_ = json.NewEncoder(w).Encode(AdminError{"the request is not one of explain: " + err.Error()})
			return
		}
		out, err := service.Explain(r.Context(), in)
		if err != nil {
			status, message := http.StatusInternalServerError, err.Error()
			if fault := kms.AsError(err); fault.Code != kms.KMSInternalException {
				status, message = http.StatusBadRequest, fault.Message
			}
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(AdminError{message})
			return
		}
		_ = json.NewEncoder(w).Encode(out) // a client that has gone does not concern the server
	}
}
