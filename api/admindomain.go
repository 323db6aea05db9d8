package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/kms11/kms11/ops"
)

// domainHandlers are those of POST /domain/{action} on the admin socket: a JSON request, a JSON answer.
func domainHandlers() map[string]func(context.Context, *ops.Service, ops.RotationRequest) (any, error) {
	return map[string]func(context.Context, *ops.Service, ops.RotationRequest) (any, error){
		"plan": func(ctx context.Context, s *ops.Service, r ops.RotationRequest) (any, error) {
			return s.PlanRotation(ctx, r)
		},
		"rotate": func(ctx context.Context, s *ops.Service, r ops.RotationRequest) (any, error) {
			return s.RotateDomain(ctx, r)
		},
		"abandon": func(ctx context.Context, s *ops.Service, r ops.RotationRequest) (any, error) {
			return struct{}{}, s.AbandonTokens(ctx, r.Region)
		},
		"rotations": func(ctx context.Context, s *ops.Service, _ ops.RotationRequest) (any, error) { return s.Rotations(ctx) },
		"orphans":   func(ctx context.Context, s *ops.Service, _ ops.RotationRequest) (any, error) { return s.Orphans(ctx) },
	}
}

// domainEvents are the names in the audit trail of what changes something. Nothing writes to it.
var domainEvents = map[string]string{"rotate": "RotateDomain", "abandon": "AbandonTokens"}

func domainHandler(service *ops.Service) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		act, known := domainHandlers()[r.PathValue("action")]
		if !known {
			answerAdmin(w, http.StatusNotFound, AdminError{"there is no such action"})
			return
		}
		var request ops.RotationRequest
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
		if err == nil {
			err = json.Unmarshal(body, &request)
		}
		if err != nil {
			answerAdmin(w, http.StatusBadRequest, AdminError{"the request could not be read"})
			return
		}
		do := func() (any, error) { return act(r.Context(), service, request) }
		var answer any
		if event, changes := domainEvents[r.PathValue("action")]; changes {
			answer, err = service.RecordRotation(AdminOrigin(r), event, request, do)
		} else {
			answer, err = do()
		}
		switch {
		case errors.Is(err, ops.ErrRotation):
			answerAdmin(w, http.StatusBadRequest, AdminError{err.Error()})
		case err != nil:
			answerAdmin(w, http.StatusInternalServerError, AdminError{err.Error()}) // the socket is the administrator's
		default:
			answerAdmin(w, http.StatusOK, answer)
		}
	}
}
