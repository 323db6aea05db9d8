package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"
)

// Ratio is a server's CPU time over a floor's: the median of what the rounds say.
type Ratio struct {
	Name        string  `json:"name"`
	Floor       string  `json:"floor"`
	Concurrency int     `json:"concurrency"`
	Ratio       float64 `json:"ratio"`
}

// Report is what -json writes.
type Report struct {
	Time     time.Time     `json:"time"`
	Go       string        `json:"go"`
	Platform string        `json:"platform"`
	CPUs     int           `json:"cpus"`
	Rounds   int           `json:"rounds"`
	Requests int           `json:"requests"`
	Audit    string        `json:"audit"` // mode of the server's trail
	Token    string        `json:"token"` // kind of token, by its name for -token
	Results  []*Result     `json:"results,omitempty"`
	Ratios   []Ratio       `json:"ratios,omitempty"`
	Keys     []*KeysResult `json:"keys,omitempty"`
	XKS      *XKSReport    `json:"xks,omitempty"`
}

func newReport(opts options) *Report {
	return &Report{
		Time: time.Now().UTC().Truncate(time.Second), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		CPUs: runtime.NumCPU(), Rounds: opts.rounds, Requests: opts.requests, Audit: opts.audit, Token: opts.token.name,
	}
}

// ratios compares every operation with the floors at its concurrency: net/http, the signature and
// its own bare path. The token call alone has only one concurrency and is that of Encrypt.
func ratios(results []*Result) []Ratio {
	var all []Ratio
	for _, r := range results {
		for _, floor := range results {
			if r.Floor || !floor.Floor || floor.Concurrency != r.Concurrency && floor.Name != "token" {
				continue
			}
			name := floor.Name
			if strings.HasPrefix(name, "bare") {
				if name != cmp.Or(r.Bare, "bare") {
					continue
				}
				name = "bare"
			}
			all = append(all, Ratio{Name: r.Name, Floor: name, Concurrency: r.Concurrency, Ratio: ratio(r, floor)})
		}
	}
	return all
}

// ratio compares what was measured in the same round.
func ratio(r, floor *Result) float64 {
	var all []float64
	for i := range min(len(r.Samples), len(floor.Samples)) {
		all = append(all, r.Samples[i].CPUMicros/floor.Samples[i].CPUMicros)
	}
	return middleOf(all)
}

func (r *Report) writeJSON(file string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}

// print writes the tables for a person.
func (r *Report) print(w io.Writer) {
	fmt.Fprintf(w, "Server CPU time per request (user and system, µs) and requests per second.\n"+
		"Median of %d rounds of %d requests; token %s; %s, %d CPUs shared with the client, %s; audit mode %s.\n\n",
		r.Rounds, r.Requests, r.Token, r.Platform, r.CPUs, r.Go, r.Audit)
	if r.XKS != nil {
		r.XKS.print(w)
		return
	}
	if r.Keys != nil {
		r.printKeys(w)
		return
	}
	printResults(w, r.Results)
	if len(r.Ratios) > 0 {
		fmt.Fprintln(w)
		r.printRatios(w)
	}
}

func printResults(w io.Writer, results []*Result) {
	fmt.Fprintf(w, "%-36s  %11s  %7s  %10s\n", "", "concurrency", "CPU µs", "requests/s")
	for i, r := range results {
		title := r.Title
		if r.Floor {
			title = "floor: " + title
		}
		if i > 0 && results[i-1].Name == r.Name {
			title = ""
		}
		fmt.Fprintf(w, "%-36s  %11d  %7.1f  %10.0f\n", title, r.Concurrency, r.CPUMicros, r.PerSecond)
	}
}

func (r *Report) printRatios(w io.Writer) {
	fmt.Fprintf(w, "%-36s  %11s", "CPU time over the floor's", "concurrency")
	first := r.Ratios[0]
	for _, x := range r.Ratios {
		if x.Name == first.Name && x.Concurrency == first.Concurrency {
			fmt.Fprintf(w, "  %5s", x.Floor)
		}
	}
	last := Ratio{}
	for _, x := range r.Ratios {
		if x.Name != last.Name || x.Concurrency != last.Concurrency {
			fmt.Fprintf(w, "\n%-36s  %11d", x.Name, x.Concurrency)
		}
		fmt.Fprintf(w, "  %5.2f", x.Ratio)
		last = x
	}
	fmt.Fprintln(w)
}

func (r *Report) printKeys(w io.Writer) {
	few, many := r.Keys[0], r.Keys[len(r.Keys)-1]
	fmt.Fprintf(w, "%-50s  %11s  %11s  %6s\n", "", fmt.Sprint(few.Keys, " keys"), fmt.Sprint(many.Keys, " keys"), "ratio")
	row := func(title string, a, b float64) {
		fmt.Fprintf(w, "%-50s  %11.1f  %11.1f\n", title, a, b)
	}
	ratio := func(title string, a, b float64) {
		fmt.Fprintf(w, "%-50s  %11.1f  %11.1f  %6.2f\n", title, a, b, b/a)
	}
	// What happens once for each key has too few samples at few keys for a ratio.
	row("CreateKey, CPU µs", few.Create.CPUMicros, many.Create.CPUMicros)
	row("CreateKey, per second", few.Create.PerSecond, many.Create.PerSecond)
	row("first Encrypt with a new key, CPU µs", few.FirstUse.CPUMicros, many.FirstUse.CPUMicros)
	for i, warm := range few.Warm {
		title := fmt.Sprintf("warm Encrypt, random keys, concurrency %d, ", warm.Concurrency)
		ratio(title+"CPU µs", warm.CPUMicros, many.Warm[i].CPUMicros)
		ratio(title+"/s", warm.PerSecond, many.Warm[i].PerSecond)
	}
	row("restart to the first Encrypt, ms", few.RestartMS, many.RestartMS)
	row("first Encrypt with a key after a restart, CPU µs", few.Cold.CPUMicros, many.Cold.CPUMicros)
	row("keys in use", float64(few.Used), float64(many.Used))
	row("resident memory with these in use, MB", few.WarmMB, many.WarmMB)
	row("resident memory at the first answer, MB", few.StartMB, many.StartMB)
}
