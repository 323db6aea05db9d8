package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// configure writes the server's configuration file, if there is something to say: config, and the token
// where the server has to be told of it. Then it makes the domain in that token, too.
func (s *server) configure(ctx context.Context, kind tokenKind, config string) error {
	if kind.configured {
		uri, err := kind.create(filepath.Join(s.dir, "token"))
		if err != nil {
			return err
		}
		config += "tokens:\n  - \"" + uri.String() + "\"\n"
	}
	if config == "" {
		return nil
	}
	file := filepath.Join(s.dir, "kms11.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	s.args = append([]string{"--config", file}, s.args...)
	if !kind.configured {
		return nil // an empty data directory is enough for serve
	}
	return s.initialise(ctx, file)
}

// initialise makes what serve wants to find where it is told of a token.
func (s *server) initialise(ctx context.Context, config string) error {
	command := exec.CommandContext(ctx, s.binary, "init", "--data", filepath.Join(s.dir, "data"), "--config", config)
	command.Env = s.environment()
	var log strings.Builder
	command.Stderr = &log
	if err := command.Run(); err != nil {
		return fmt.Errorf("kms11 init: %w: %s", err, strings.TrimSpace(log.String()))
	}
	return nil
}

// environment is that of the commands of the server's binary.
func (s *server) environment() []string {
	return environment("HOME="+s.dir, "KMS11_AUDIT_MODE="+s.audit)
}
