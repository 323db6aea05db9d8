package boltengine

import (
	"fmt"
	"runtime/debug"
)

// guard runs a part of bbolt and turns what it does with a broken file into ErrDamaged: it panics, or
// reads beyond the end of the mapped file, which faults. Code of others must not run in it, or its
// mistakes would pass for damage.
func guard(part func() error) (err error) {
	faults := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(faults)
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	return part()
}
