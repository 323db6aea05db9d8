package api

import (
	"net/http"
	"net/http/pprof"
)

// registerProfiles serves the profiles of the running process, as package net/http/pprof does, to who may
// administer it: GET /debug/pprof/profile?seconds=N is of the CPU, others go by the names that package
// runtime/pprof gives them. They hold addresses and names of functions, no data.
func registerProfiles(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/{name}", func(w http.ResponseWriter, r *http.Request) {
		pprof.Handler(r.PathValue("name")).ServeHTTP(w, r)
	})
}
