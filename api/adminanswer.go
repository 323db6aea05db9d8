package api

import (
	"encoding/json"
	"net/http"
)

// AdminError is the body of an answer on the admin socket that is not 200.
type AdminError struct {
	Message string `json:"message"`
}

// AnswerAdmin answers a command on the admin socket: with 200 and its answer, or with 400 and why it failed. The
// socket is the administrator's, who may read any cause.
func AnswerAdmin(w http.ResponseWriter, answer any, err error) {
	if err != nil {
		answerAdmin(w, http.StatusBadRequest, AdminError{err.Error()})
		return
	}
	answerAdmin(w, http.StatusOK, answer)
}

// answerAdmin answers on the admin socket with JSON.
func answerAdmin(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that has gone does not concern the server
}
