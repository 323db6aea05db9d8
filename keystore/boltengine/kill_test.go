package boltengine_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/keystore/boltengine"
)

const writerEnv = "KMS11_BOLTENGINE_TEST_WRITER"

// TestMain turns this binary into the writer that TestKill kills.
func TestMain(m *testing.M) {
	if path := os.Getenv(writerEnv); path != "" {
		fmt.Fprintln(os.Stderr, writeUntilKilled(path))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeUntilKilled adds numbered keys and prints each number once its commit was acknowledged.
func writeUntilKilled(path string) error {
	e, err := boltengine.Open(path)
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		err := e.Update(context.Background(), func(tx keystore.EngineTx) error {
			for range tx.Scan(nil, []byte("0")) {
				return fmt.Errorf("there is a key that nobody wrote")
			}
			return tx.Put(fmt.Appendf(nil, "%d/%d", os.Getpid(), n), make([]byte, n%20_000))
		})
		if err != nil {
			return err
		}
		fmt.Println(n)
	}
}

// TestKill kills a writing process at arbitrary moments: the file stays sound, and nothing that
// was acknowledged is lost.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keystore.db")
	e, err := boltengine.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	acknowledged := make(map[string]int) // by key, the length of its value
	for round := range 8 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), writerEnv+"="+path)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for seen := 0; lines.Scan(); seen++ {
			n, err := strconv.Atoi(lines.Text())
			if err != nil {
				t.Fatalf("the writer says %q", lines.Text())
			}
			acknowledged[fmt.Sprintf("%d/%d", cmd.Process.Pid, n)] = n % 20_000
			if seen == 20*round { // what it printed before it died still counts
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait() // killed

		e, err := boltengine.Open(path)
		if err != nil {
			t.Fatalf("after kill %d: %v", round, err)
		}
		if err := e.Check(t.Context()); err != nil {
			t.Errorf("after kill %d: %v", round, err)
		}
		err = e.View(t.Context(), func(tx keystore.EngineTx) error {
			for key, length := range acknowledged {
				if value, err := tx.Get([]byte(key)); err != nil || len(value) != length {
					return fmt.Errorf("%s: %d bytes, %w", key, len(value), err)
				}
			}
			return nil
		})
		if err != nil {
			t.Errorf("after kill %d an acknowledged write is lost: %v", round, err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d acknowledged writes survived", len(acknowledged))
}
