package api

import (
	"errors"
	"io"
	"net/http"

	"github.com/kms11/kms11/ops"
)

// iamHandler answers POST /iam/{action} on the admin socket: a JSON request, a JSON answer.
func iamHandler(service *ops.Service) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		request, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
		if err != nil {
			answerAdmin(w, http.StatusBadRequest, AdminError{"the request could not be read"})
			return
		}
		answer, err := service.Administer(r.Context(), AdminOrigin(r), r.PathValue("action"), request)
		var told *ops.IdentityError
		switch {
		case errors.As(err, &told):
			answerAdmin(w, http.StatusBadRequest, AdminError{string(told.Code) + ": " + told.Message})
		case err != nil:
			answerAdmin(w, http.StatusInternalServerError, AdminError{err.Error()}) // the socket is the administrator's
		default:
			answerAdmin(w, http.StatusOK, answer)
		}
	}
}
