package api

import (
	"net"
	"strconv"
	"syscall"
)

// peerOf names the user at the other end of a unix socket, as the kernel knows it: "uid:" and a number.
// It is empty for other connections.
func peerOf(conn net.Conn) (peer string) {
	if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = wrapped.NetConn()
	}
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		return ""
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return ""
	}
	_ = raw.Control(func(fd uintptr) { // without an answer nobody is named
		if credentials, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			peer = "uid:" + strconv.FormatUint(uint64(credentials.Uid), 10)
		}
	})
	return peer
}
