package hsm

import "context"

// ErrTransfer is for the tests outside the package.
var ErrTransfer = errTransfer

// Again gives a reception that has not been used.
func Again(r *Reception) *Reception {
	again := *r
	again.used = false
	return &again
}

// SignTransfer signs a consignment as its domain does.
func SignTransfer(ctx context.Context, d *Domain, c *Consignment) ([]byte, error) {
	return d.signTransfer(ctx, c.transcript())
}
