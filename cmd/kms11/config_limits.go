package main

import "syscall"

// LimitsConfig bounds what a token or a client may do to the server. 0 is the default of each.
type LimitsConfig struct {
	// Call is how many seconds a call into a token may take before the token is taken out of use, 10
	// by default, and Pair the same of generating a key pair, 180 by default.
	Call int `yaml:"call"`
	Pair int `yaml:"pair"`
	// Leak is how many megabytes a library that is known to leak may lose before it is initialised
	// again, 256 by default.
	Leak int `yaml:"leak"`
	// Connections is how many connections each listener may have at a time: 4096 by default, or a sixth
	// of the file descriptors that the process may have, if that is less.
	Connections int `yaml:"connections"`
}

const (
	defaultConnections = 4096
	// listeners is how many have connections: the KMS endpoint, the proxy, its health, the metrics. Two
	// parts more are for all other files.
	listeners = 4
)

func (c *LimitsConfig) connections() int {
	if c.Connections > 0 {
		return c.Connections
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return defaultConnections
	}
	return int(min(defaultConnections, max(files.Cur/(listeners+2), 1)))
}
