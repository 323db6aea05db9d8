package kms

import (
	"maps"
	"slices"
)

// Request is one operation's input. All request types implement it on their pointers.
type Request interface {
	// Decode fills the request from an HTTP body, one JSON object, and validates it.
	//
	// Member names are case-sensitive, unknown members are ignored, and of a member that is given
	// twice the last counts. null and an empty encryption context are the same as absent; an empty
	// body is the same as {}. An absent member leaves the zero value.
	//
	// The error is a *Error: SerializationException if the body is not valid UTF-8 or JSON, or a
	// value has the wrong JSON type or is not standard padded base64; otherwise
	// ValidationException, which lists the first ten constraints that are not met, in the order of
	// the members in the model. After an error the contents of the request are undefined. Decode
	// keeps no reference to body.
	Decode(body []byte) error

	Audited
}

// Operation describes one operation of the API.
type Operation struct {
	Name string
	// NewRequest makes an empty request of the operation's type.
	NewRequest func() Request
	// Errors are the errors that the model declares, in its order. Treat it as read-only. Every
	// operation may also fail with the undeclared ones, such as ValidationException.
	Errors []ErrorCode
	// KeyIDs says how the request may name its key.
	KeyIDs KeyIDForms
	// HasOutput is false for the operations that answer with an empty body.
	HasOutput bool
	// CrossAccount says that the key may belong to another account than the caller.
	CrossAccount bool
	// Mutates says that the operation changes a key or what belongs to it. Cryptographic operations
	// do not: the audit trail calls them read-only, as AWS CloudTrail does.
	Mutates bool
	// GrantTokens and DryRun say that the request has these members.
	GrantTokens, DryRun bool
	// Paginated is the list member of a paginated output, empty for other operations.
	Paginated string
}

// KeyIDForms is how an operation lets a request name its key.
type KeyIDForms int

const (
	KeyIDNone    KeyIDForms = iota // the operation works on no single key
	KeyIDNoAlias                   // key id or key ARN
	KeyIDAnyForm                   // key id, key ARN, alias name or alias ARN
)

// Operations gives every operation of the API in alphabetical order.
func Operations() []Operation {
	all := make([]Operation, 0, len(operations))
	for _, name := range slices.Sorted(maps.Keys(operations)) {
		all = append(all, *operations[name])
	}
	return all
}

// OperationByName finds an operation; the name is case-sensitive.
func OperationByName(name string) (Operation, bool) {
	op, ok := operations[name]
	if !ok {
		return Operation{}, false
	}
	return *op, true
}
