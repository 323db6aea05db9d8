package main

import (
	"reflect"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		samples []sample
		want    sample
	}{
		{[]sample{{1, 2}}, sample{1, 2}},
		{[]sample{{3, 10}, {1, 30}, {2, 20}}, sample{2, 20}},
		{[]sample{{1, 1}, {2, 2}, {4, 3}, {100, 4}}, sample{3, 2.5}},
	} {
		if got := median(test.samples); got != test.want {
			t.Errorf("median(%v) = %v, want %v", test.samples, got, test.want)
		}
	}
}

func TestRatios(t *testing.T) {
	rounds := func(micros ...float64) (samples []sample) {
		for _, m := range micros {
			samples = append(samples, sample{CPUMicros: m})
		}
		return samples
	}
	got := ratios([]*Result{
		{Name: "http", Floor: true, Concurrency: 1, Samples: rounds(10, 20, 1000)},
		{Name: "http", Floor: true, Concurrency: 32, Samples: rounds(5, 5, 10)},
		{Name: "token", Floor: true, Concurrency: 1, Samples: rounds(2, 2, 2)},
		{Name: "encrypt", Concurrency: 1, Samples: rounds(20, 40, 20)},
		{Name: "encrypt", Concurrency: 32, Samples: rounds(20, 20, 20)},
	})
	want := []Ratio{
		{"encrypt", "http", 1, 2}, {"encrypt", "token", 1, 10},
		{"encrypt", "http", 32, 4}, {"encrypt", "token", 32, 10},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestParseFlagsRefuses(t *testing.T) {
	for _, args := range [][]string{
		{"-concurrency", "1,x"}, {"-concurrency", "0"}, {"-concurrency", "1x"}, {"-concurrency", ""},
		{"-only", "encrypt,other"}, {"-token", "other"}, {"-rounds", "0"}, {"-requests", "-1"}, {"more"},
	} {
		if _, err := parseFlags(args); err == nil {
			t.Errorf("accepted %q", args)
		}
	}
	opts, err := parseFlags([]string{"-only", "encrypt,http", "-concurrency", "8"})
	if err != nil || len(opts.only) != 2 || !reflect.DeepEqual(opts.concurrency, []int{8}) {
		t.Errorf("got %+v, %v", opts, err)
	}
}
