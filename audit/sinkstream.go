package audit

import (
	"context"
	"io"
)

// Stream is the sink that writes records to w, such as standard output.
func Stream(name string, w io.Writer) Sink { return &stream{name: name, w: w} }

type stream struct {
	name string
	w    io.Writer
}

func (s *stream) Name() string { return s.name }

func (s *stream) Send(_ context.Context, records []byte) error {
	_, err := s.w.Write(records)
	return err
}

func (s *stream) Close() error { return nil }
