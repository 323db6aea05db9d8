package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/kms11/kms11/ops"
)

// Admin serves the administration of a running server on a unix socket that only its own user can
// open: the store is locked while it is served, so the command line asks the server.
type Admin struct {
	path   string
	server *http.Server
}

// adminConnections is how many commands may ask at a time.
const adminConnections = 64

// Status is what GET /status on the admin socket answers.
type Status struct {
	Version string `json:"version"`
	Healthy bool   `json:"healthy"`
	Problem string `json:"problem,omitempty"`
	ops.Status
	// Tokens are all that the server uses. What is said of them is there even when a check hangs.
	Tokens []ops.TokenStatus `json:"tokens"`
	// Regions are those with tokens of their own. One that is not healthy makes the server not healthy,
	// though the others are served.
	Regions []ops.RegionStatus `json:"regions,omitempty"`
}

// ListenAdmin serves on the socket at path until Close. A socket that an earlier server left is
// replaced; the caller holds the lock of the data directory. Each of commands may register more on
// the socket.
func ListenAdmin(path string, service *ops.Service, version string, log *slog.Logger, commands ...func(*http.ServeMux)) (*Admin, error) {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	listener, err := listenPrivate(path)
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
		defer cancel()
		checked := make(chan Status, 1)
		go func() { checked <- check(ctx, service) }()
		var status Status
		select {
		case status = <-checked:
		case <-ctx.Done():
			status.Problem = errCheckHangs.Error()
		}
		status.Version, status.Tokens = version, service.Tokens()
		answerAdmin(w, http.StatusOK, status)
	})
	mux.HandleFunc("POST /policy/explain", explainHandler(service))
	mux.HandleFunc("POST /iam/{action}", iamHandler(service))
	mux.HandleFunc("POST /domain/{action}", domainHandler(service))
	registerProfiles(mux)
	for _, register := range commands {
		register(mux)
	}
	server := &http.Server{
		Handler: mux, ConnContext: withPeer, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	a := &Admin{path: path, server: server}
	limited := LimitConnections(listener, server, adminConnections, log)
	go func() { _ = server.Serve(limited) }() // ends with Close
	return a, nil
}

// check asks the tokens and the store how they are.
func check(ctx context.Context, service *ops.Service) Status {
	status := Status{Healthy: true}
	var err error
	if status.Status, err = service.Status(ctx); err == nil {
		err = service.Health(ctx)
	}
	if err != nil {
		status.Healthy, status.Problem = false, err.Error()
	}
	status.addRegions(service.Regions(ctx))
	return status
}

func (s *Status) addRegions(regions []ops.RegionStatus) {
	s.Regions = regions
	for _, r := range regions {
		if s.Healthy && !r.Healthy {
			s.Healthy, s.Problem = false, "Region "+r.Region+": "+r.Problem
		}
	}
}

// Close stops serving and removes the socket.
func (a *Admin) Close() error {
	return errors.Join(a.server.Close(), os.Remove(a.path))
}

// listenPrivate listens on a unix socket of mode 0600. The socket is made in a directory that only
// its owner can enter and is moved into place once its mode is set, so that there is no moment in
// which others could connect.
func listenPrivate(path string) (net.Listener, error) {
	private, err := os.MkdirTemp(filepath.Dir(path), ".s")
	if err != nil {
		return nil, err
	}
	defer os.Remove(private)
	made := filepath.Join(private, "s")
	var listener net.Listener
	err = withShortPath(made, func(short string) error {
		listener, err = net.Listen("unix", short)
		return err
	})
	if err != nil {
		return nil, err
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	err = os.Chmod(made, 0o600)
	if err == nil {
		err = os.Rename(made, path)
	}
	if err != nil {
		listener.Close()
		return nil, err
	}
	return listener, nil
}

// maxSocketPath is the longest path of a unix socket on the systems kms11 runs on (macOS: 104
// bytes with the final zero).
const maxSocketPath = 103

// withShortPath calls use with a path to the socket that fits a socket address: the path itself,
// or one through a symbolic link that lives as long as the call.
func withShortPath(path string, use func(string) error) error {
	if len(path) <= maxSocketPath {
		return use(path)
	}
	private, err := os.MkdirTemp("", "kms11-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(private)
	link := filepath.Join(private, "d")
	if err := os.Symlink(filepath.Dir(path), link); err != nil {
		return err
	}
	return use(filepath.Join(link, filepath.Base(path)))
}

// AdminClient speaks to the admin socket at path, whatever the host of a URL.
func AdminClient(path string) *http.Client {
	return &http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (conn net.Conn, err error) {
			err = withShortPath(path, func(short string) error {
				conn, err = (&net.Dialer{}).DialContext(ctx, "unix", short)
				return err
			})
			return conn, err
		}},
	}
}
