//go:build !linux

package main

import (
	"errors"
	"time"
)

func cpuTime(int) (time.Duration, error) {
	return 0, errors.New("reading another process's CPU clock needs Linux")
}

func resident(int) (float64, error) { return 0, errors.New("the benchmark needs Linux") }
