package policy

// work counts what a decision costs, in steps that take about a nanosecond each. Who writes a key's
// policy also sends requests, and both may be long: without a bound one request could keep a processor
// busy for minutes.
type work int

// maxWork is what one decision may cost: some tens of milliseconds. Policies of the largest size with the
// values of ordinary requests cost less than a hundredth of it.
const maxWork work = 1 << 25

// The steps of what takes the same time for every text.
const (
	comparing  = 8   // one value of a request with one of a policy
	reading    = 256 // a value that is no text
	lookingUp  = 32  // the values of a condition key
	collecting = 128 // each of several values
)

func (w *work) add(steps int) { *w += work(steps) }

func (w *work) exhausted() bool { return *w > maxWork }
