// Command bench measures what the kms11 server costs, beside floors measured in the same run on
// the same machine. The figure is the CPU time of the server's process (user and system) per
// request, read from its CPU clock before and after a window of requests; the client's own CPU
// time is not in it. It needs Linux, SoftHSM2 (`make deps`) and a built server (`make build`).
//
//	make bench                                       # everything, five interleaved rounds
//	go run ./integration/bench -only encrypt,bare    # some of it
//	go run ./integration/bench -token nss            # on NSS (`make token-deps`) instead of SoftHSM2
//	go run ./integration/bench -keys 10000           # what many keys cost
//	go run ./integration/bench -xks                  # the external key store proxy
//	go run ./integration/bench -xks -sustain 60s     # 1,800 requests a second for a minute
//
// Each floor runs in a process of its own: this program again, with environment variables that say
// which floor it is and on what kind of token.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	binary      string
	serveArgs   []string
	config      string    // more of the server's configuration file
	token       tokenKind // of the server and of the bare paths
	audit       string    // mode of the trail
	rounds      int
	requests    int
	concurrency []int
	only        []string // nil for all
	keys        int      // 0: the plain benchmark
	xks         bool
	xksKeys     []int
	sustain     time.Duration // 0: no sustained load
	rate        int           // of the sustained load, requests a second
	json        string
}

func main() {
	if name := os.Getenv(floorEnv); name != "" {
		if err := runFloor(); err != nil {
			fmt.Fprintf(os.Stderr, "bench floor %s: %v\n", name, err)
			os.Exit(1)
		}
		return
	}
	opts, err := parseFlags(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	if err := run(opts); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parseFlags(args []string) (options, error) {
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	var (
		opts        options
		concurrency = set.String("concurrency", "1,32", "connections that send at once, a list")
		only        = set.String("only", "", "measure these alone, a list of: "+strings.Join(subjectNames(), ", "))
		token       = set.String("token", tokenKinds()[0].name, "kind of token that the server and the bare paths are on: softhsm or nss")
		serveArgs   = set.String("serve-args", "", "more arguments for kms11 serve, separated by spaces")
	)
	set.StringVar(&opts.audit, "audit", "async", "mode of the server's audit trail: async or strict")
	set.StringVar(&opts.binary, "server", "bin/kms11", "the kms11 binary")
	set.IntVar(&opts.rounds, "rounds", 5, "rounds, of whose figures the median counts")
	set.IntVar(&opts.requests, "requests", 5000, "requests in each window of a round")
	set.IntVar(&opts.keys, "keys", 0, "measure Encrypt over this many keys instead, and over 10")
	set.BoolVar(&opts.xks, "xks", false, "measure the external key store proxy instead")
	xksKeys := set.String("xks-keys", "1,100,1000", "with -xks: how many key objects there are in the token, an ascending list")
	set.DurationVar(&opts.sustain, "sustain", 0, "with -xks: only load the proxy at -rate for this long")
	set.IntVar(&opts.rate, "rate", 1800, "with -sustain: requests a second")
	set.StringVar(&opts.json, "json", "", "also write all figures to this file")
	if err := set.Parse(args); err != nil {
		return opts, err
	}
	opts.serveArgs = strings.Fields(*serveArgs)
	var err error
	if opts.token, err = tokenKindOf(*token); err != nil {
		return opts, fmt.Errorf("-token: %w", err)
	}
	for field := range strings.SplitSeq(*concurrency, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 || n > 1024 {
			return opts, fmt.Errorf("-concurrency %q is not a list of numbers from 1 to 1024", *concurrency)
		}
		opts.concurrency = append(opts.concurrency, n)
	}
	if *only != "" {
		opts.only = strings.Split(*only, ",")
	}
	for field := range strings.SplitSeq(*xksKeys, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 || len(opts.xksKeys) > 0 && n <= opts.xksKeys[len(opts.xksKeys)-1] {
			return opts, fmt.Errorf("-xks-keys %q is not an ascending list of numbers", *xksKeys)
		}
		opts.xksKeys = append(opts.xksKeys, n)
	}
	for _, name := range opts.only {
		if !slices.Contains(subjectNames(), name) {
			return opts, fmt.Errorf("-only: %q is none of %s", name, strings.Join(subjectNames(), ", "))
		}
	}
	if opts.audit != "async" && opts.audit != "strict" {
		return opts, fmt.Errorf("-audit: %q is not async or strict", opts.audit)
	}
	if set.NArg() > 0 || opts.rounds < 1 || opts.requests < 1 || opts.keys < 0 || opts.rate < 1 {
		return opts, errors.New("arguments out of range; see -help")
	}
	return opts, nil
}

// limit ends a run that hangs.
const limit = 30 * time.Minute

func run(opts options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	dir, err := os.MkdirTemp("", "kms11-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if opts.binary, err = filepath.Abs(opts.binary); err != nil {
		return err
	}

	report := newReport(opts)
	if opts.xks {
		report.XKS, err = measureXKS(ctx, opts, dir)
	} else if opts.keys > 0 {
		report.Keys, err = measureKeys(ctx, opts, dir)
	} else {
		report.Results, err = measureAll(ctx, opts, dir)
		report.Ratios = ratios(report.Results)
	}
	if err != nil {
		return err
	}
	report.print(os.Stdout)
	if opts.json != "" {
		return report.writeJSON(opts.json)
	}
	return nil
}
