package xks

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestBounded(t *testing.T) {
	type key struct{}
	request, gone := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
	defer gone()

	long := newBounded(request, time.Hour)
	if err := long.Err(); err != nil || long.Value(key{}) != "value" {
		t.Errorf("%v, %v", err, long.Value(key{}))
	}
	waited := newBounded(request, time.Hour)
	if until, there := waited.Deadline(); !there || time.Until(until) <= 0 {
		t.Errorf("until %v, %t", until, there)
	}
	done := waited.Done()
	child, cancel := context.WithCancel(waited)
	defer cancel()
	select {
	case <-done:
		t.Error("it has ended at once")
	default:
	}
	if err := waited.Err(); err != nil || waited.Done() != done {
		t.Errorf("while somebody waits: %v", err)
	}

	for name, p := range map[string]*bounded{"nobody waits": newBounded(request, 0), "somebody waits": newBounded(request, time.Millisecond)} {
		if name == "somebody waits" {
			<-p.Done()
		}
		if err := p.Err(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("its time is over, %s: %v", name, err)
		}
		p.end()
	}

	late := newBounded(request, 0)
	if err := late.Err(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("its time is over: %v", err)
	}

	gone()
	<-done
	<-child.Done()
	if err := late.Err(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("what was said once is said no more: %v", err)
	}
	for _, p := range []*bounded{long, waited} {
		if err := p.Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("the request is gone: %v", err)
		}
	}
	ended := newBounded(t.Context(), time.Hour)
	done = ended.Done()
	ended.end()
	<-done // its timer is free
}

func TestBoundedOfAnEarlierDeadline(t *testing.T) {
	request, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p := newBounded(request, time.Hour)
	want, _ := request.Deadline()
	if got, there := p.Deadline(); !there || !got.Equal(want) {
		t.Errorf("until %v, %t", got, there)
	}
}
