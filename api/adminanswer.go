package api

import (
	"encoding/json"
	"net/http"
)

// AdminError is the body of an answer on the admin socket that is not 200.
type AdminError struct {
	Message string `json:"message"`
}

// answerAdmin answers on the admin socket with JSON.
func answerAdmin(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that has gone does not concern the server
}
