package main

// LimitsConfig bounds what a token may do to the server. 0 is the default of each.
type LimitsConfig struct {
	// Call is how many seconds a call into a token may take before the token is taken out of use, 10
	// by default, and Pair the same of generating a key pair, 180 by default.
	Call int `yaml:"call"`
	Pair int `yaml:"pair"`
	// Leak is how many megabytes a library that is known to leak may lose before it is initialised
	// again, 256 by default.
	Leak int `yaml:"leak"`
}
