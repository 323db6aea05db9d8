package kms

import (
	"encoding/json"
	"testing"
	"time"
)

func TestTimestamps(t *testing.T) {
	for text, want := range map[string]string{
		"1571767572.317":     "1571767572.317",
		"1571767572.3174":    "1571767572.317",
		"1571767572":         "1571767572",
		"1.571767572317E9":   "1571767572.317",
		"0":                  "0",
		"0.5":                "0.5",
		"-1.25":              "-1.25",
		"253402300799":       "253402300799",
		"1571767572.3000000": "1571767572.3",
	} {
		var ts Timestamp
		if err := json.Unmarshal([]byte(text), &ts); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, _ := json.Marshal(ts); string(got) != want {
			t.Errorf("%s became %s", text, got)
		}
	}
	for _, text := range []string{"253402300800", "-62135596800", "1e400", `"2026-01-01T00:00:00Z"`, "{}", "true"} {
		var ts Timestamp
		if json.Unmarshal([]byte(text), &ts) == nil {
			t.Errorf("%s was accepted", text)
		}
	}
	zone := time.FixedZone("", 3600)
	if got := TimestampOf(time.Date(2026, 1, 1, 1, 0, 0, 1_999_999, zone)); got.Time != time.Date(2026, 1, 1, 0, 0, 0, 1_000_000, time.UTC) {
		t.Errorf("got %v", got)
	}
	if !TimestampOf(time.Time{}).IsZero() {
		t.Error("the zero time means absent")
	}
}

func TestTimestampMembers(t *testing.T) {
	request := `{"KeyId":"k","ImportToken":"AA==","EncryptedKeyMaterial":"AA==","ValidTo":`
	r, err := decodeOp(t, "ImportKeyMaterial", request+`1571767572.317}`)
	if err != nil || r.(*ImportKeyMaterialRequest).ValidTo.UnixMilli() != 1571767572317 {
		t.Errorf("%v", err)
	}
	_, err = decodeOp(t, "ImportKeyMaterial", request+`1e300}`)
	checkError(t, err, SerializationException, "DECIMAL_VALUE can not be converted to a Timestamp")
	got, err := json.Marshal(ScheduleKeyDeletionResponse{KeyId: "k", DeletionDate: TimestampOf(time.UnixMilli(1500))})
	if err != nil || string(got) != `{"KeyId":"k","DeletionDate":1.5}` {
		t.Errorf("%s, %v", got, err)
	}
}
