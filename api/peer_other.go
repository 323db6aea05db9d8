//go:build !linux

package api

import "net"

// peerOf would name the user at the other end of a unix socket; it can on Linux only.
func peerOf(net.Conn) string { return "" }
