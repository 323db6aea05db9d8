//go:build race

package kms11test

const raceEnabled = true
