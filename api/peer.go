package api

import (
	"context"
	"net"
	"net/http"

	"github.com/kms11/kms11/ops"
)

type peerKey struct{}

// withPeer notes who is at the other end of a connection to the admin socket: http.Server.ConnContext.
func withPeer(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, peerKey{}, peerOf(conn))
}

// AdminOrigin is where a request on the admin socket came from.
func AdminOrigin(r *http.Request) ops.Origin {
	peer, _ := r.Context().Value(peerKey{}).(string)
	return ops.Origin{SourceIP: "admin socket", UserAgent: r.UserAgent(), Peer: peer}
}
