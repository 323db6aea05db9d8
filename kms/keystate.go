package kms

// StateFacts is what the state rules look at.
type StateFacts struct {
	ARN    string // the key's, for the message
	State  KeyState
	Origin OriginType
}

func (f StateFacts) inCustomStore() bool {
	return f.Origin == OriginTypeAwsCloudhsm || f.Origin == OriginTypeExternalKeyStore
}

// CheckState says whether an operation is allowed on a key in its present state. The error is a
// *Error with AWS's code and text: DisabledException, KMSInvalidStateException, or
// UnsupportedOperationException where the key's origin rules the operation out in this state.
//
// For UpdateAlias key is the new target; for ReEncrypt each key is checked by itself. An operation
// that works on no key, and a state that is not one of AWS's, fail with KMSInternalException.
func CheckState(op string, key StateFacts) error {
	row, known := stateRules[op]
	column, inTable := stateColumns[key.State]
	if !known || !inTable {
		return KMSInternalException.Err().Because(
			Errorf(KMSInternalException, "no state rule for %s on a key in state %q", op, key.State))
	}
	for _, note := range row[column] {
		if note.applies(key) {
			return Errorf(note.code, note.text, key.ARN, note.detail(key))
		}
	}
	return nil
}

// note is a footnote of the key state table: an error and when it applies.
type note struct {
	applies func(StateFacts) bool
	code    ErrorCode
	text    string // takes the ARN and the detail
	detail  func(StateFacts) any
}

// whenState makes a note whose text ends in what the state is called.
func whenState(code ErrorCode, text string) note {
	return note{
		applies: func(StateFacts) bool { return true },
		code:    code,
		text:    "%s is %s.",
		detail:  func(StateFacts) any { return text },
	}
}

// whenOrigin makes a note about keys whose origin does not suit the operation.
func whenOrigin(applies func(StateFacts) bool) note {
	return note{
		applies: applies,
		code:    UnsupportedOperationException,
		text:    "%s origin is %s which is not valid for this operation.",
		detail:  func(f StateFacts) any { return f.Origin },
	}
}
