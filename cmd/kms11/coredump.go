package main

import (
	"fmt"
	"syscall"
)

// forbidCoreDumps keeps the memory of the process, in which are plaintexts and secret access keys, out of
// core files.
func forbidCoreDumps() error {
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("forbidding core dumps: %w", err)
	}
	return nil
}
