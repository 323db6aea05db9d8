package ops

import (
	"cmp"
	"encoding/base64"
	"slices"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// limitOr is the page size of a list: the request's Limit, or the operation's own without one.
func limitOr(limit, standard int) int { return cmp.Or(limit, standard) }

// scopeOf is where a request without a key looks: the caller's account in the request's Region.
func scopeOf(call *Call) keystore.Scope {
	return keystore.Scope{Partition: kms.PartitionOf(call.Region), Account: call.Caller.Principal.Account, Region: call.Region}
}

// page gives at most limit elements of a list that is in ascending order of their names, beginning
// behind the name after ("" for the first), and whether there are more.
func page[T any](all []T, after string, limit int, name func(T) string) (part []T, more bool) {
	if after != "" {
		i, found := slices.BinarySearchFunc(all, after, func(e T, after string) int { return cmp.Compare(name(e), after) })
		if found {
			i++
		}
		all = all[i:]
	}
	if len(all) > limit {
		return all[:limit], true
	}
	return all, false
}

// marker says where the next page of an operation begins. It is opaque to clients and good for
// that operation only.
func marker(operation, last string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(operation + "/" + last))
}

// openMarker is the inverse of marker; no marker is the beginning.
func openMarker(operation, marker string) (after string, err error) {
	if marker == "" {
		return "", nil
	}
	text, err := base64.RawURLEncoding.DecodeString(marker)
	if err != nil || len(text) <= len(operation)+1 || string(text[:len(operation)+1]) != operation+"/" {
		return "", kms.Errorf(kms.InvalidMarkerException, "The marker is not valid.")
	}
	return string(text[len(operation)+1:]), nil
}
