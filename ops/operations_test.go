package ops

import (
	"slices"
	"testing"

	"github.com/kms11/kms11/kms"
)

// TestOperationTable holds that the table has every operation of AWS KMS once, by name, and no
// other. That kms.Operations is the set of the public SDK is held in package kms.
func TestOperationTable(t *testing.T) {
	var want, got []string
	for _, operation := range kms.Operations() {
		want = append(want, operation.Name)
	}
	for _, operation := range operations() {
		got = append(got, operation.Name)
	}
	if !slices.IsSorted(got) {
		t.Error("the table is not in alphabetical order")
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the table has %v\nwant %v", got, want)
	}
}
