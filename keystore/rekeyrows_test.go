package keystore

import (
	"os"
	"regexp"
	"strconv"
	"testing"
)

// TestRekeyKnowsEveryKind holds that a new kind of record has its row: without one every rotation of a
// domain's keys would stop at it.
func TestRekeyKnowsEveryKind(t *testing.T) {
	source, err := os.ReadFile("kind.go")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`code: (\d+)`).FindAllSubmatch(source, -1)
	if len(codes) < 14 {
		t.Fatalf("%d kinds in kind.go", len(codes))
	}
	for _, c := range codes {
		code, err := strconv.Atoi(string(c[1]))
		if err != nil {
			t.Fatal(err)
		}
		if _, known := rekeyRowOf(uint8(code)); !known && uint8(code) != headerKind.code {
			t.Errorf("kind %d has no row in rekeyRows", code)
		}
	}
}
