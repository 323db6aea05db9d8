package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A process is a server under measurement. It ends with stop, or when ctx of its start ends.
type process struct {
	name   string
	log    string // file with its standard error
	cmd    *exec.Cmd
	stdin  io.Writer
	stdout *bufio.Reader

	watched bool          // whether nobody reads lines any more
	exited  chan struct{} // closed when a watched process has ended
}

// stopBound is how long a process may take to end by itself.
const stopBound = 15 * time.Second

// startProcess starts a program with an environment of its own; its standard error goes to a
// file in dir.
func startProcess(ctx context.Context, name, dir string, env []string, program string, args ...string) (*process, error) {
	p := &process{name: name, log: filepath.Join(dir, name+".log"), exited: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the process has its own descriptor
	p.cmd = exec.CommandContext(ctx, program, args...)
	p.cmd.Env = env
	p.cmd.Stderr = log
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.stdout = bufio.NewReader(stdout)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// line reads the next line of the process's standard output.
func (p *process) line() (string, error) {
	text, err := p.stdout.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("%s ended: %w%s", p.name, err, p.lastWords())
	}
	return strings.TrimSpace(text), nil
}

// watch discards the rest of the standard output and closes exited when the process ends. No
// line can be read afterwards.
func (p *process) watch() {
	if p.watched {
		return
	}
	p.watched = true
	go func() {
		_, _ = io.Copy(io.Discard, p.stdout) // its end is all that counts
		_ = p.cmd.Wait()                     // so is this
		close(p.exited)
	}()
}

// stop ends the process, by force if it does not end in time.
func (p *process) stop() error {
	p.watch()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(stopBound):
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.name, err)
	}
	<-p.exited
	return fmt.Errorf("%s did not end within %v of SIGTERM", p.name, stopBound)
}

// lastWords is the end of the process's standard error, for an error text.
func (p *process) lastWords() string {
	data, err := os.ReadFile(p.log)
	if err != nil || len(data) == 0 {
		return ""
	}
	return "\n" + strings.TrimSpace(string(data[max(0, len(data)-2000):]))
}

// environment is what a measured process inherits, plus more: nothing of the caller's that
// could choose another token, store or account.
func environment(more ...string) []string {
	env := more
	for _, name := range []string{"PATH", "TMPDIR", "SOFTHSM2_MODULE", "GOMAXPROCS", "GOGC", "GOMEMLIMIT"} {
		if value, set := os.LookupEnv(name); set {
			env = append(env, name+"="+value)
		}
	}
	return env
}
