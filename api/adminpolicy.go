package api

import (
	"encoding/json"
	"net/http"

	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/ops"
)

// explainHandler answers POST /policy/explain: an ops.ExplainRequest, answered by an
// ops.Explanation.
func explainHandler(service *ops.Service) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in ops.ExplainRequest
		decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, MaxBody))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&in); err != nil {
			answerAdmin(w, http.StatusBadRequest, AdminError{"the request is not one of explain: " + err.Error()})
			return
		}
		out, err := service.Explain(r.Context(), in)
		if err != nil {
			status, message := http.StatusInternalServerError, err.Error()
			if fault := kms.AsError(err); fault.Code != kms.KMSInternalException {
				status, message = http.StatusBadRequest, fault.Message
			}
			answerAdmin(w, status, AdminError{message})
			return
		}
		answerAdmin(w, http.StatusOK, out)
	}
}
