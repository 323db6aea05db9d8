package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"
)

// fewKeys is what a run with -keys compares with.
const fewKeys = 10

// coldUses bounds how many keys a cold measurement uses.
const coldUses = 2000

// warmUses bounds how many keys are in use, and so at hand in the token.
const warmUses = 10_000

// KeysResult is what a server with so many keys costs.
type KeysResult struct {
	Keys      int       `json:"keys"`
	Used      int       `json:"used"`
	Create    sample    `json:"create"`     // per key, 8 in flight
	FirstUse  sample    `json:"first_use"`  // Encrypt with each of up to 10,000 keys once after its creation, 8 in flight
	Warm      []*Result `json:"warm"`       // Encrypt with random keys, each used before
	Cold      sample    `json:"cold"`       // Encrypt with each of up to 2000 keys once after a restart, one at a time
	RestartMS float64   `json:"restart_ms"` // from the start of the process to the first Encrypt's answer
	// Resident memory of the process in MB: when all keys in use have been used, and at the first
	// answer after the restart.
	WarmMB  float64 `json:"warm_mb"`
	StartMB float64 `json:"start_mb"`
}

// measureKeys measures two servers, one with few keys and one with many, in interleaved rounds.
func measureKeys(ctx context.Context, opts options, dir string) (results []*KeysResult, err error) {
	var populations []*population
	defer func() {
		for _, p := range populations {
			err = errors.Join(err, p.stop())
		}
	}()
	for _, n := range [...]int{fewKeys, opts.keys} {
		s, err := newServer(ctx, opts, filepath.Join(dir, fmt.Sprint("kms11-", n)))
		if err != nil {
			return nil, err
		}
		p := &population{server: s, result: &KeysResult{Keys: n}}
		populations = append(populations, p)
		results = append(results, p.result)
		if err := p.fill(ctx); err != nil {
			return nil, err
		}
	}
	for round := range opts.rounds + 1 {
		for _, p := range populations {
			if err := p.warmRound(ctx, opts, round); err != nil {
				return nil, err
			}
		}
	}
	for _, p := range populations {
		for _, r := range p.result.Warm {
			r.sample = median(r.Samples)
		}
		if err := p.restart(ctx); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// A population is a server and its keys.
type population struct {
	*server
	ids    []string
	result *KeysResult
}

// fill creates the keys and uses each once.
func (p *population) fill(ctx context.Context) (err error) {
	p.result.Create, err = p.cost(p.result.Keys, func() (err error) {
		p.ids, err = p.createKeys(ctx, p.result.Keys)
		return err
	})
	if err != nil {
		return err
	}
	p.ids = p.ids[:min(len(p.ids), warmUses)]
	p.result.Used = len(p.ids)
	requests, err := p.encrypts()
	if err != nil {
		return err
	}
	p.result.FirstUse, err = p.inTurn(ctx, setUpConnections, requests)
	return err
}

// encrypts are signed Encrypt requests, one for each key in use.
func (p *population) encrypts() ([][]byte, error) {
	var requests [][]byte
	for _, id := range p.ids {
		request, err := p.id.prepare(p.address, "Encrypt", encryptBody(id))
		if err != nil {
			return nil, err
		}
		requests = append(requests, request)
	}
	return requests, nil
}

// inTurn sends each request once.
func (p *population) inTurn(ctx context.Context, concurrency int, requests [][]byte) (sample, error) {
	all, err := connect(ctx, p.address, concurrency, nil)
	if err != nil {
		return sample{}, err
	}
	defer all.close()
	return p.cost(len(requests), func() error {
		return all.each(len(requests), func(i int) []byte { return requests[i] }, nil)
	})
}

// warmRound measures random keys once at each concurrency. Round 0 warms up.
func (p *population) warmRound(ctx context.Context, opts options, round int) error {
	requests, err := p.encrypts()
	if err != nil {
		return err
	}
	for i, concurrency := range opts.concurrency {
		taken, err := p.load(ctx, p.address, concurrency, opts.requests, requests)
		if err != nil {
			return err
		}
		if round == 0 {
			p.result.Warm = append(p.result.Warm, &Result{Name: "encrypt", Title: "Encrypt 32 B", Concurrency: concurrency})
			continue
		}
		p.result.Warm[i].Samples = append(p.result.Warm[i].Samples, taken)
	}
	return nil
}

// restart measures the way back: the first answer, then keys that no cache holds.
func (p *population) restart(ctx context.Context) (err error) {
	if p.result.WarmMB, err = resident(p.cmd.Process.Pid); err != nil {
		return err
	}
	if err := p.stop(); err != nil {
		return err
	}
	requests, err := p.encrypts()
	if err != nil {
		return err
	}
	rand.Shuffle(len(requests), func(i, j int) { requests[i], requests[j] = requests[j], requests[i] })
	begin := time.Now()
	if err := p.start(ctx); err != nil {
		return err
	}
	if err := p.waitFor(ctx, requests[0]); err != nil {
		return err
	}
	p.result.RestartMS = float64(time.Since(begin)) / float64(time.Millisecond)
	if p.result.StartMB, err = resident(p.cmd.Process.Pid); err != nil {
		return err
	}
	p.result.Cold, err = p.inTurn(ctx, 1, requests[1:min(len(requests), 1+coldUses)])
	return err
}
