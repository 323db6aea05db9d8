package kms11test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Account and Region are what a server of these tests serves.
const (
	Account = "111122223333"
	Region  = "us-east-1"
)

// Bounds that only end a test that hangs; no test passes or fails by how fast it is.
const (
	startBound = 2 * time.Minute
	stopBound  = time.Minute
)

// Server is one kms11 process and its data directory. Its methods are for the test's own
// goroutine; Client and Env may be used by several at once.
type Server struct {
	Dir    string // the data directory; it outlives the process
	Listen string // host:port

	args   []string
	secure *tls.Config // to reach a server that uses TLS; else nil
	dev    bool
	log    string // a file outside Dir
	cmd    *exec.Cmd
	exited chan struct{} // closed once cmd is waited for
}

// Start starts `kms11 serve` on a new data directory and waits until it answers /healthz. Further
// arguments are added to the command line. The process ends with the test at the latest.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return StartIn(t, newDir(t), args...)
}

// StartTLS is Start for a server that is configured to use TLS; readiness is asked for with this
// configuration.
func StartTLS(t testing.TB, config *tls.Config, args ...string) *Server {
	t.Helper()
	return startIn(t, newDir(t), config, args)
}

// newDir is a data directory that is not there yet.
func newDir(t testing.TB) string {
	t.Helper()
	// Not t.TempDir: a socket's path, which is in there, has to be shorter than test names can be.
	parent, err := os.MkdirTemp("", "kms11-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(parent); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(parent, "data")
}

// StartIn is Start on the data directory dir.
func StartIn(t testing.TB, dir string, args ...string) *Server {
	t.Helper()
	return startIn(t, dir, nil, args)
}

func startIn(t testing.TB, dir string, secure *tls.Config, args []string) *Server {
	t.Helper()
	s := &Server{
		Dir:    dir,
		args:   args,
		secure: secure,
		log:    filepath.Join(t.TempDir(), "kms11.log"),
	}
	for _, arg := range args {
		s.dev = s.dev || arg == "--dev"
	}
	t.Cleanup(func() { s.finish(t) })
	s.Listen = FreeAddress(t)
	s.Restart(t)
	return s
}

// Restart starts the process again on the same directory and address after Kill or Stop.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	for attempt := 1; ; attempt++ {
		s.launch(t)
		if s.awaitReady(t) {
			return
		}
		// Another process can take a free port before kms11 does.
		if attempt == 3 || !strings.Contains(s.Log(t), "address already in use") {
			t.Fatalf("kms11 ended before it was ready: %v\n%s", s.cmd.ProcessState, s.Log(t))
		}
		s.Listen = FreeAddress(t)
	}
}

// awaitReady waits until the process answers, or gives false when it has ended.
func (s *Server) awaitReady(t testing.TB) bool {
	t.Helper()
	for deadline := time.Now().Add(startBound); time.Now().Before(deadline); {
		if s.ready() {
			return true
		}
		select {
		case <-s.exited:
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	t.Fatalf("kms11 was not ready after %v\n%s", startBound, s.Log(t))
	return false
}

func (s *Server) launch(t testing.TB) {
	t.Helper()
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	args := append([]string{"serve", "--data", s.Dir, "--listen", s.Listen, "--account", Account, "--region", Region}, s.args...)
	s.cmd = exec.Command(Binary(t), args...)
	s.cmd.Env = ServerEnv(t)
	s.cmd.Dir = filepath.Dir(s.Dir) // it prints paths relative to where it runs
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait() // the result is in cmd.ProcessState
		close(exited)
	}(s.cmd, s.exited)
}

func (s *Server) ready() bool {
	client, url := http.Client{Timeout: 10 * time.Second}, "http://"+s.Listen+"/healthz"
	if s.secure != nil {
		transport := &http.Transport{TLSClientConfig: s.secure}
		defer transport.CloseIdleConnections()
		client.Transport, url = transport, "https://"+s.Listen+"/healthz"
	}
	response, err := client.Get(url)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// Kill ends the process as a power cut would: SIGKILL, nothing flushed by the process.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	<-s.exited
}

// Stop ends the process by SIGTERM and checks that it went in good order.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("stopping kms11: %v\n%s", err, s.Log(t))
	}
	select {
	case <-s.exited:
	case <-time.After(stopBound):
		s.Kill(t)
		t.Fatalf("kms11 did not stop within %v of SIGTERM\n%s", stopBound, s.Log(t))
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("kms11 left with %d after SIGTERM\n%s", code, s.Log(t))
	}
}

// finish ends what still runs and looks for what no log may show.
func (s *Server) finish(t testing.TB) {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	select {
	case <-s.exited:
	default:
		s.Stop(t)
	}
	log := s.Log(t)
	for _, bad := range []string{"DATA RACE", "panic:", "panic in ", "panic serving", "fatal error:"} {
		if strings.Contains(log, bad) {
			t.Errorf("the server's log holds %q", bad)
		}
	}
	if t.Failed() {
		t.Logf("the server's log:\n%s", lastLines(log, 60))
	}
}

// Log is everything the process wrote to its standard output and error so far.
func (s *Server) Log(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile(s.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func lastLines(text string, n int) string {
	lines := bytes.SplitAfter([]byte(text), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-n):], nil))
}

// FreeAddress is a loopback address nothing listens on at the moment.
func FreeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
