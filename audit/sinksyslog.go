package audit

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// SyslogSink sends each record as one message of RFC 5424, facility security/authorization (10),
// severity informational (6). Over TCP messages are counted (RFC 6587, section 3.4.1); over UDP and
// unix datagrams each is one packet, which the receiver may lose without a word.
type SyslogSink struct {
	Network string // udp, tcp, unixgram or unix
	Address string
	conn    net.Conn
}

// syslogPriority is facility 10 times 8 plus severity 6.
const syslogPriority = 10*8 + 6

// Name implements Sink.
func (s *SyslogSink) Name() string { return "syslog " + s.Network + " " + s.Address }

// Send implements Sink. After a failure the connection is made anew.
func (s *SyslogSink) Send(ctx context.Context, records []byte) error {
	if s.conn == nil {
		conn, err := (&net.Dialer{}).DialContext(ctx, s.Network, s.Address)
		if err != nil {
			return err
		}
		s.conn = conn
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = s.conn.SetWriteDeadline(deadline) // a connection that cannot have one fails at the write
	}
	var message, framed []byte
	counted := s.Network == "tcp" || s.Network == "unix"
	for record := range bytes.Lines(records) {
		message = s.message(message[:0], bytes.TrimSuffix(record, []byte{'\n'}))
		out := message
		if counted {
			framed = strconv.AppendInt(framed[:0], int64(len(message)), 10)
			framed = append(append(framed, ' '), message...)
			out = framed
		}
		if _, err := s.conn.Write(out); err != nil {
			_ = s.conn.Close() // the write's error is the one to report
			s.conn = nil
			return err
		}
	}
	return nil
}

func (s *SyslogSink) message(b, record []byte) []byte {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "-"
	}
	return fmt.Appendf(b, "<%d>1 %s %s kms11 %d audit - %s", syslogPriority,
		time.Now().UTC().Format("2006-01-02T15:04:05.000000Z"), host, os.Getpid(), record)
}

// Close implements Sink.
func (s *SyslogSink) Close() error {
	if s.conn == nil {
		return nil
	}
	return s.conn.Close()
}
