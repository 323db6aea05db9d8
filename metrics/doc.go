// Package metrics tells Prometheus what the server does and how it is. Counting a request costs it no
// lock and no allocation. Everything else is read when Prometheus asks. Labels have values that the
// configuration and the program bound: never a key, an account or a principal.
package metrics
