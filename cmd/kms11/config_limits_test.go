package main

import "testing"

// TestConnections: the number that is set, or one that leaves descriptors for all listeners and for more.
func TestConnections(t *testing.T) {
	if got := (&LimitsConfig{Connections: 7}).connections(); got != 7 {
		t.Errorf("7 are %d", got)
	}
	if got := new(LimitsConfig).connections(); got < 1 || got > defaultConnections {
		t.Errorf("by default %d", got)
	}
	c := defaultConfig()
	c.Limits.Connections = -1
	if err := c.check(); err == nil {
		t.Error("a negative number is taken")
	}
}
