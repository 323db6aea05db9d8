package xks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/kms11/kms11/ops"
)

// A Finding is one thing that a Doctor looked at.
type Finding struct {
	Check  string `json:"check"`
	Grade  Grade  `json:"grade"`
	Detail string `json:"detail,omitempty"`
	// AWS is what an AWS KMS would answer its caller, where the finding is that something failed.
	AWS string `json:"aws,omitempty"`
}

// A Grade is how a check went.
type Grade string

// The grades. What fails is against a MUST of the specification or keeps AWS KMS from using the
// proxy; a warning is against a SHOULD, or true of AWS KMS only and not of other callers.
const (
	Passed  Grade = "ok"
	Warned  Grade = "warn"
	Failed  Grade = "FAIL"
	Skipped Grade = "skip"
)

// A Doctor checks a proxy against the specification, field by field. It uses one external key of
// the proxy's, with which it encrypts and decrypts texts of its own.
type Doctor struct {
	Config ClientConfig
	// KeyID is the external key; empty: only what needs none is checked.
	KeyID string
	// Report gets each finding as it is made.
	Report func(Finding)

	client *Client
	failed int
}

// patience is how long the doctor waits for answers whose time is not what is checked.
const patience = 10 * time.Second

// Examine runs every check and gives the number of those that failed. It ends early where nothing
// more can be said: no connection, or no authentication. An error is about the configuration.
func (d *Doctor) Examine(ctx context.Context) (failed int, err error) {
	config := d.Config
	config.Timeout = patience
	if d.client, err = NewClient(config); err != nil {
		return 0, err
	}
	defer d.client.Close()
	d.endpoint()
	d.transport(ctx)
	if !d.connect(ctx) {
		return d.failed, nil
	}
	d.uris(ctx)
	d.authentication(ctx)
	d.metadataRules(ctx)
	if d.KeyID == "" {
		d.report(Finding{"external key", Skipped, "no key was named: GetKeyMetadata, Encrypt and Decrypt are not checked", ""})
		return d.failed, nil
	}
	if d.key(ctx) {
		d.crypto(ctx)
	}
	return d.failed, nil
}

func (d *Doctor) report(f Finding) {
	if f.Grade == Failed {
		d.failed++
	}
	d.Report(f)
}

// check reports a condition.
func (d *Doctor) check(name string, ok bool, grade Grade, detail string) bool {
	if ok {
		d.report(Finding{Check: name, Grade: Passed})
	} else {
		d.report(Finding{Check: name, Grade: grade, Detail: detail})
	}
	return ok
}

// works reports the outcome of a request that should succeed, with AWS's answer if it did not.
func (d *Doctor) works(name string, err error, aws func(ops.ProxyVerdict) string) bool {
	if err == nil {
		d.report(Finding{Check: name, Grade: Passed})
		return true
	}
	d.report(Finding{name, Failed, err.Error(), aws(verdictOn(err))})
	return false
}

// probe is a body that is sent as it is, and what must come of it.
type probe struct {
	name, path string
	body       any
	want       string // error name; empty: success
	// also are other error names that the specification leaves room for.
	also  []string
	grade Grade // of a failure; empty: Failed
	// aws tells what an AWS KMS answers for a failure; nil: ofCrypto.
	aws func(ops.ProxyVerdict) string
}

// try sends a probe and reports whether the outcome is the one that is wanted.
func (d *Doctor) try(ctx context.Context, client *Client, p probe) {
	text, err := json.Marshal(p.body)
	if err != nil {
		d.report(Finding{p.name, Skipped, err.Error(), ""})
		return
	}
	status, answer, err := client.Post(ctx, p.path, text)
	if p.grade == "" {
		p.grade = Failed
	}
	if p.aws == nil {
		p.aws = ofCrypto
	}
	if err != nil {
		d.report(Finding{Check: p.name, Grade: p.grade, Detail: err.Error()})
		return
	}
	if p.want == "" {
		if status == 200 {
			d.report(Finding{Check: p.name, Grade: Passed})
			return
		}
		err := errorOf(status, answer)
		d.report(Finding{p.name, p.grade, "refused: " + err.Error(), p.aws(verdictOn(err))})
		return
	}
	d.report(judge(p, status, answer))
}

// judge compares an error answer with the one that is wanted.
func judge(p probe, status int, answer []byte) Finding {
	f := Finding{Check: p.name, Grade: Passed}
	wanted := fmt.Sprintf("%s (HTTP %d)", p.want, statuses[p.want])
	if status == 200 {
		f.Grade, f.Detail = p.grade, "it succeeded; it should be "+wanted
		return f
	}
	err := errorOf(status, answer)
	var got *Error
	if !errors.As(err, &got) {
		f.Grade, f.Detail, f.AWS = p.grade, err.Error()+"; it should be "+wanted, p.aws(verdictOn(err))
		return f
	}
	for _, name := range append([]string{p.want}, p.also...) {
		if got.Name != name {
			continue
		}
		if got.HTTPStatus != statuses[name] {
			f.Grade, f.Detail = p.grade, fmt.Sprintf("%s came with HTTP %d, not %d", name, got.HTTPStatus, statuses[name])
		}
		if len(got.Message) > MaxErrorMessage {
			f.Grade, f.Detail = p.grade, "errorMessage has 512 characters or more"
		}
		return f
	}
	f.Grade, f.Detail, f.AWS = p.grade, got.Error()+"; it should be "+wanted, p.aws(verdictOn(err))
	return f
}
