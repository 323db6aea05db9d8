package api

import "time"

// A Meter counts the requests of one API. Its methods are called for every request, by many goroutines
// at once.
type Meter interface {
	// Begin says that a request has arrived.
	Begin()
	// End says that a request was answered, once for each Begin: which operation it was for, "" if for
	// none that exists, the code of its error, "" for success, and how long it took.
	End(operation, code string, took time.Duration)
}

// noMeter counts nothing.
type noMeter struct{}

func (noMeter) Begin()                            {}
func (noMeter) End(string, string, time.Duration) {}

// Meter has the requests counted. It comes before the first of them.
func (h *Handler) Meter(m Meter) { h.meter = m }

// Meter has the requests counted. It comes before the first of them.
func (h *STS) Meter(m Meter) { h.meter = m }

// metered is one request as a Meter sees it.
type metered struct {
	meter           Meter
	began           time.Time
	operation, code string
}

func begin(m Meter) metered {
	m.Begin()
	// A panic on the way is an answer that never came.
	return metered{meter: m, began: time.Now(), code: "InternalFailure"}
}

func (m *metered) end() { m.meter.End(m.operation, m.code, time.Since(m.began)) }
