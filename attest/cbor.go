package attest

import "github.com/fxamacker/cbor/v2"

// decode reads exactly one CBOR item into a Go value of the shape that it must have. Duplicate map
// keys, fields of a structure that it does not have, tags, invalid UTF-8 and trailing bytes are
// refused. Indefinite lengths are not: real documents have them. The limits are the lowest that
// the library takes; the specified form nests two levels and has 32 registers at most.
func decode(data []byte, into any) error {
	mode, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
		TagsMd:            cbor.TagsForbidden,
		MaxNestedLevels:   4,
		MaxArrayElements:  16,
		MaxMapPairs:       32,
	}.DecMode()
	if err != nil {
		return err
	}
	return mode.Unmarshal(data, into)
}
