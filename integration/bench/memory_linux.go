package main

import (
	"fmt"
	"os"
)

// resident is the resident memory of process pid in MB (proc_pid_statm(5): the second figure, in
// pages).
func resident(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	var size, pages int
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		return 0, fmt.Errorf("read the memory of process %d: %w", pid, err)
	}
	return float64(pages) * float64(os.Getpagesize()) / (1 << 20), nil
}
