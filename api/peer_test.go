package api

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
)

// TestAdminOrigin: on Linux the kernel says who is at the other end of the admin socket.
func TestAdminOrigin(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	listener, err := listenPrivate(path)
	if err != nil {
		t.Fatal(err)
	}
	peers := make(chan string, 1)
	server := &http.Server{ConnContext: withPeer, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		peers <- AdminOrigin(r).Peer
	})}
	go func() { _ = server.Serve(listener) }() // ends with Close
	defer server.Close()
	response, err := AdminClient(path).Get("http://kms11/")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	want := ""
	if runtime.GOOS == "linux" {
		want = "uid:" + strconv.Itoa(os.Getuid())
	}
	if got := <-peers; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	one, other := net.Pipe()
	defer one.Close()
	defer other.Close()
	if got := withPeer(context.Background(), one).Value(peerKey{}); got != "" {
		t.Errorf("a connection that is no socket is of %q", got)
	}
}
