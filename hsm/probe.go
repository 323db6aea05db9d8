package hsm

import (
	"context"
	"errors"
	"fmt"
)

// A Feature is one thing a token was asked to do.
type Feature struct {
	Name string `json:"name"`
	Area string `json:"area"`
	// OK says that the token did it as the standard says.
	OK bool `json:"ok"`
	// Detail is the CKR name of what went wrong, or what else there is to say.
	Detail string `json:"detail,omitempty"`
}

// Probe finds out what a token can do by doing it, with keys that are made for it and destroyed:
// lists of mechanisms are not to be trusted. Answers are compared with Go's standard library where
// that has the algorithm. It makes an RSA and several elliptic-curve pairs, so it takes about a
// second of a software token and more of an HSM. An error means that the token went away; what it
// cannot do is no error.
func Probe(ctx context.Context, t *Token) ([]Feature, error) {
	var features []Feature
	err := t.do(ctx, laneLong, func(s *session) error {
		features = features[:0]
		p := &prober{session: s}
		defer p.release(0)
		for _, row := range probeRows() {
			if err := ctx.Err(); err != nil {
				return err
			}
			f, err := p.run(row)
			if err != nil {
				return err
			}
			features = append(features, f)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("probe %s: %w", t.config.URI, err)
	}
	return features, nil
}

// A probeRow is a feature and how it is tried. try answers with a remark, if there is one.
type probeRow struct {
	area, name string
	try        func(p *prober) (remark string, err error)
}

func probeRows() []probeRow {
	var rows []probeRow
	for _, area := range [][]probeRow{
		encryptionRows, derivationRows(), macRows(), wrapRows(), boundaryRows, importRows(), rsaRows, curveRows(),
	} {
		rows = append(rows, area...)
	}
	return rows
}

// A prober is a session with the objects of the rows that ran. A row's objects are destroyed at
// its end, but for the RSA pair, which serves several.
type prober struct {
	*session
	made []object
	rsa  *probePair
}

// run tries one row. The error is a lost session or token, which ends the whole probe.
func (p *prober) run(row probeRow) (Feature, error) {
	kept := len(p.made)
	remark, err := row.try(p)
	if p.rsa != nil && kept < p.rsa.kept {
		kept = p.rsa.kept
	}
	p.release(kept)
	f := Feature{Name: row.name, Area: row.area, OK: err == nil, Detail: remark}
	var e *Error
	switch {
	case err == nil:
	case errors.As(err, &e):
		if e.class == classSessionLost || e.class == classTokenLost {
			return f, err
		}
		f.Detail = e.Function + ": " + e.Name()
	default:
		f.Detail = err.Error()
	}
	return f, nil
}

// keep has o destroyed at the end of the row.
func (p *prober) keep(o object, err error) (object, error) {
	if err == nil {
		p.made = append(p.made, o)
	}
	return o, err
}

func (p *prober) keepPair(public, private object, err error) (object, object, error) {
	if err == nil {
		p.made = append(p.made, public, private)
	}
	return public, private, err
}

// release destroys what was made after the first n objects.
func (p *prober) release(n int) {
	for len(p.made) > n {
		_ = p.destroyObject(p.made[len(p.made)-1]) // it protects nothing
		p.made = p.made[:len(p.made)-1]
	}
}
