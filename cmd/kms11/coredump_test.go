package main

import (
	"syscall"
	"testing"
)

func TestNoCoreDumps(t *testing.T) {
	if err := forbidCoreDumps(); err != nil {
		t.Fatal(err)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_CORE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur != 0 || limit.Max != 0 {
		t.Errorf("core files may have %d bytes, and %d if the process asks", limit.Cur, limit.Max)
	}
}
