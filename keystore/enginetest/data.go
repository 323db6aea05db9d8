package enginetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kms11/kms11/keystore"
)

func testOrder(t *testing.T, reopen Opener) {
	e := reopen(t)
	var want []string
	for i := range 500 {
		want = append(want, fmt.Sprintf("k/%d", i*7919%100003))
	}
	shuffled := slices.Clone(want)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(shuffled), func(i, j int) {
		shuffled[i], shuffled[j] = shuffled[j], shuffled[i]
	})
	for batch := range slices.Chunk(shuffled, 100) {
		var pairs []string
		for _, k := range batch {
			pairs = append(pairs, k, "value of "+k)
		}
		put(t, e, pairs...)
	}
	slices.Sort(want)
	wantScan(t, e, nil, nil, want)
}

func wantScan(t *testing.T, e keystore.Engine, start, end []byte, want []string) {
	t.Helper()
	view(t, e, func(tx keystore.EngineTx) error {
		got, err := scan(tx, start, end)
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("Scan(%q, %q) gives %q, want %q", start, end, got, want)
		}
		return err
	})
}

func testScanBounds(t *testing.T, reopen Opener) {
	e := reopen(t)
	wantScan(t, e, nil, nil, nil)
	put(t, e, "a", "1", "b", "2", "b\x00", "3", "c", "4")
	wantScan(t, e, nil, nil, []string{"a", "b", "b\x00", "c"})
	wantScan(t, e, []byte("b"), []byte("c"), []string{"b", "b\x00"})
	wantScan(t, e, []byte("b\x00"), nil, []string{"b\x00", "c"})
	wantScan(t, e, []byte("aa"), []byte("b"), nil)
	wantScan(t, e, []byte("c"), []byte("a"), nil)
	wantScan(t, e, []byte("d"), nil, nil)
	wantScan(t, e, nil, []byte("b"), []string{"a"})
	wantScan(t, e, nil, []byte{}, nil) // an empty end is before everything; only nil is no end

	// A loop may stop early, and the transaction goes on.
	view(t, e, func(tx keystore.EngineTx) error {
		for p, err := range tx.Scan(nil, nil) {
			if err != nil || string(p.Key) != "a" {
				return fmt.Errorf("first pair %q, %v", p.Key, err)
			}
			break
		}
		return hasValue(tx, "c", "4")
	})
}

func testOddKeys(t *testing.T, reopen Opener) {
	e := reopen(t)
	keys := []string{
		"\x00", "\x00\x00", "\x00\xff", "\x01", "/", "a", "a\x00", "a\x00b", "a\xff", "aa", "\x7f", "\x80",
		"\xff", "\xff\x00", "\xff\xff", strings.Repeat("\xff", 64),
	}
	for _, k := range keys {
		put(t, e, k, "value of "+k)
	}
	for _, k := range keys {
		wantValue(t, e, k, "value of "+k)
	}
	slices.Sort(keys)
	wantScan(t, e, nil, nil, keys)
}

func testEmptyValues(t *testing.T, reopen Opener) {
	e := reopen(t)
	put(t, e, "empty", "", "full", "x")
	wantValue(t, e, "empty", "")
	put(t, e, "full", "")
	e = reopen(t)
	wantValue(t, e, "empty", "")
	wantValue(t, e, "full", "")
	wantScan(t, e, nil, nil, []string{"empty", "full"})
	err := e.Update(t.Context(), func(tx keystore.EngineTx) error { return tx.Put([]byte("nil"), nil) })
	if err != nil {
		t.Fatalf("Put of a nil value: %v", err)
	}
	wantValue(t, e, "nil", "")
}

func testBigValues(t *testing.T, reopen Opener) {
	e := reopen(t)
	sizes := []int{1, 4095, 4096, 4097, 65535, 65536, 500_000, keystore.MaxValueSize - 1, keystore.MaxValueSize}
	value := func(n int) string { return strings.Repeat(fmt.Sprint(n, "/"), n)[:n] }
	for _, n := range sizes {
		put(t, e, fmt.Sprint(n), value(n))
	}
	e = reopen(t)
	for _, n := range sizes {
		wantValue(t, e, fmt.Sprint(n), value(n))
	}
	for _, n := range sizes {
		put(t, e, fmt.Sprint(n), "small now")
		wantValue(t, e, fmt.Sprint(n), "small now")
	}
}

func testLimits(t *testing.T, reopen Opener) {
	e := reopen(t)
	longest := strings.Repeat("k", keystore.MaxKeySize)
	put(t, e, longest, "x")
	wantValue(t, e, longest, "x")
	for name, p := range map[string]keystore.Pair{
		"empty key":      {Value: []byte("x")},
		"key too long":   {Key: []byte(longest + "k")},
		"value too long": {Key: []byte("v"), Value: make([]byte, keystore.MaxValueSize+1)},
	} {
		err := e.Update(t.Context(), func(tx keystore.EngineTx) error { return tx.Put(p.Key, p.Value) })
		if !errors.Is(err, keystore.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	wantScan(t, e, nil, nil, []string{longest})
}

func testSlicesAreCopied(t *testing.T, reopen Opener) {
	e := reopen(t)
	err := e.Update(t.Context(), func(tx keystore.EngineTx) error {
		key, value := []byte("key-1"), []byte("value-1")
		if err := tx.Put(key, value); err != nil {
			return err
		}
		copy(key, "xxxxx")
		copy(value, "yyyyyyy")
		copy(key, "key-2")
		if err := tx.Put(key, value); err != nil {
			return err
		}
		copy(key, "key-3")
		return tx.Delete(key)
	})
	if err != nil {
		t.Fatal(err)
	}
	wantValue(t, e, "key-1", "value-1")
	wantValue(t, e, "key-2", "yyyyyyy")
	wantScan(t, e, nil, nil, []string{"key-1", "key-2"})
}

func testDelete(t *testing.T, reopen Opener) {
	e := reopen(t)
	put(t, e, "a", "1", "b", "2", "c", "3")
	err := e.Update(t.Context(), func(tx keystore.EngineTx) error {
		return errors.Join(tx.Delete([]byte("b")), tx.Delete([]byte("never was")))
	})
	if err != nil {
		t.Fatal(err)
	}
	wantAbsent(t, e, "b")
	wantScan(t, e, nil, nil, []string{"a", "c"})
	put(t, e, "b", "again")
	wantValue(t, e, "b", "again")
}

func testReopen(t *testing.T, reopen Opener) {
	for i := range 5 {
		e := reopen(t)
		for j := range i {
			wantValue(t, e, fmt.Sprint("round ", j), fmt.Sprint("value ", j))
		}
		wantAbsent(t, e, fmt.Sprint("round ", i))
		put(t, e, fmt.Sprint("round ", i), fmt.Sprint("value ", i))
	}
}
