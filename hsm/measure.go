package hsm

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kms11/kms11/kms"
)

// A Measurement is what a token does of one mechanism with so many sessions at once.
type Measurement struct {
	Name        string  `json:"name"`
	Concurrency int     `json:"concurrency"`
	Calls       int     `json:"calls"`
	PerSecond   float64 `json:"perSecond"`
	P50Micros   float64 `json:"p50Micros"`
	P99Micros   float64 `json:"p99Micros"`
	// Detail is why there is no figure.
	Detail string `json:"detail,omitempty"`
}

// Measure times each mechanism of the hot path with session keys, for the duration each, with so
// many sessions of its own at once as concurrency lists, so it needs that many free sessions. The
// figures are wall time on this machine now; of a mechanism that the token lacks there are none.
func Measure(ctx context.Context, t *Token, concurrency []int, each time.Duration) ([]Measurement, error) {
	var all []Measurement
	for _, m := range measured {
		for _, n := range concurrency {
			if err := ctx.Err(); err != nil {
				return all, err
			}
			all = append(all, measure(ctx, t, m, n, each))
		}
	}
	return all, nil
}

// A measuredCall is a call that is timed.
type measuredCall struct {
	name string
	spec kms.KeySpec
	call func(b *Bare) error
}

var measured = []measuredCall{
	{"AES-256-GCM encryption, 32 bytes", kms.KeySpecSymmetricDefault, encryptBare(32)},
	{"AES-256-GCM encryption, 4096 bytes", kms.KeySpecSymmetricDefault, encryptBare(4096)},
	{"HMAC-SHA-256, 32 bytes", kms.KeySpecHmac256, func(b *Bare) error {
		_, err := b.MAC(kms.MacAlgorithmSpecHmacSha256, checkLabel)
		return err
	}},
	{"random, 32 bytes", kms.KeySpecSymmetricDefault, func(b *Bare) error {
		_, err := b.session.random(32)
		return err
	}},
	{"ECDSA on P-256", kms.KeySpecEccNistP256, signBare(kms.SigningAlgorithmSpecEcdsaSha256)},
	{"ECDSA on P-384", kms.KeySpecEccNistP384, signBare(kms.SigningAlgorithmSpecEcdsaSha384)},
	{"Ed25519", kms.KeySpecEccNistEdwards25519, signBare(kms.SigningAlgorithmSpecEd25519Sha512)},
	{"RSA-2048 PSS", kms.KeySpecRsa2048, signBare(kms.SigningAlgorithmSpecRsassaPssSha256)},
	{"RSA-4096 PSS", kms.KeySpecRsa4096, signBare(kms.SigningAlgorithmSpecRsassaPssSha256)},
}

func encryptBare(size int) func(*Bare) error {
	return func(b *Bare) error {
		_, err := b.Encrypt(make([]byte, size))
		return err
	}
}

func signBare(algorithm kms.SigningAlgorithmSpec) func(*Bare) error {
	return func(b *Bare) error {
		_, err := b.Sign(algorithm, checkLabel)
		return err
	}
}

func measure(ctx context.Context, t *Token, m measuredCall, concurrency int, each time.Duration) Measurement {
	result := Measurement{Name: m.name, Concurrency: concurrency}
	var bares []*Bare
	defer func() {
		for _, b := range bares {
			_ = b.Close() // its objects go with its session
		}
	}()
	for range concurrency {
		b, err := OpenBare(ctx, t, m.spec)
		if err != nil {
			result.Detail = err.Error()
			return result
		}
		bares = append(bares, b)
	}
	took, failed := make([][]time.Duration, concurrency), make([]error, concurrency)
	begun := time.Now()
	var running sync.WaitGroup
	for i, b := range bares {
		running.Go(func() {
			for ctx.Err() == nil && failed[i] == nil && (len(took[i]) == 0 || time.Since(begun) < each) {
				call := time.Now()
				failed[i] = m.call(b)
				took[i] = append(took[i], time.Since(call))
			}
		})
	}
	running.Wait()
	wall := time.Since(begun)
	for _, err := range failed {
		if err != nil {
			result.Detail = err.Error()
			return result
		}
	}
	times := slices.Concat(took...)
	slices.Sort(times)
	micros := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
	result.Calls, result.PerSecond = len(times), float64(len(times))/wall.Seconds()
	result.P50Micros, result.P99Micros = micros(times[len(times)/2]), micros(times[len(times)*99/100])
	return result
}

// Close closes the session, and with it the key.
func (b *Bare) Close() error {
	if err := b.session.close(); err != nil {
		return fmt.Errorf("close a measuring session: %w", err)
	}
	return nil
}
