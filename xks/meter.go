package xks

import "time"

// A Meter counts the requests to a proxy. Its methods are called for every request, by many goroutines
// at once.
type Meter interface {
	// Begin says that a request has arrived.
	Begin()
	// End says that a request was answered, once for each Begin: which operation it was for, "" if for
	// none that exists, the name of its error, "" for success, and how long it took.
	End(operation, code string, took time.Duration)
}

type noMeter struct{}

func (noMeter) Begin()                            {}
func (noMeter) End(string, string, time.Duration) {}

// Operations are the names of the operations as a Meter gets them.
func Operations() []string {
	return []string{string(opHealth), string(opMetadata), string(opEncrypt), string(opDecrypt)}
}

// meterReading is one request as a Meter sees it.
type meterReading struct {
	meter           Meter
	began           time.Time
	operation, code string
}

// outcome notes what became of the request. A name that is not one of the specification's, which another
// proxy behind an external key might send, is not passed on.
func (m *meterReading) outcome(e *exchange, known *Error) {
	if e.found {
		m.operation = string(e.target.operation)
	}
	switch {
	case known == nil:
		m.code = ""
	case known.Known():
		m.code = known.Name
	}
}

func (m *meterReading) end() { m.meter.End(m.operation, m.code, time.Since(m.began)) }
