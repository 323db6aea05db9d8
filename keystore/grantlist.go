package keystore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
)

// GrantList is the grants on a key to one grantee, by what their constraints select. It holds ids
// only: go by nothing but what Grant says then.
type GrantList struct {
	entries []string // selector, separator, id; ascending
}

// unselected is the selector of a grant without a constraint on the encryption context.
const unselected = "-"

// selectorOf is a short name for a value in an encryption context.
func selectorOf(value string) string {
	sum := sha256.Sum256([]byte(value))
	return hex.EncodeToString(sum[:8])
}

// selector stands for one value that an encryption context must have for the grant to allow
// anything in it: the longest, as the one that most likely sets the grant apart.
func (r *GrantRecord) selector() string {
	chosen, found := "", false
	for _, context := range []map[string]string{r.EncryptionContextEquals, r.EncryptionContextSubset} {
		for _, value := range context {
			if !found || len(value) > len(chosen) || len(value) == len(chosen) && value < chosen {
				chosen, found = value, true
			}
		}
	}
	if !found {
		return unselected
	}
	return selectorOf(chosen)
}

// All gives the ids of all grants.
func (l *GrantList) All() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, entry := range l.entries {
			if _, id, _ := strings.Cut(entry, grantSeparator); !yield(id) {
				return
			}
		}
	}
}

// For gives the ids of the grants whose constraints may be met by an encryption context. An id may
// come twice.
func (l *GrantList) For(context map[string]string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if len(l.entries) == 0 || !l.selected(unselected, yield) {
			return
		}
		if strings.HasPrefix(l.entries[len(l.entries)-1], unselected) {
			return // "-" comes before all digits: there are no others
		}
		for _, value := range context {
			if !l.selected(selectorOf(value), yield) {
				return
			}
		}
	}
}

func (l *GrantList) selected(selector string, yield func(string) bool) bool {
	prefix := selector + grantSeparator
	i, _ := slices.BinarySearch(l.entries, prefix)
	for ; i < len(l.entries) && strings.HasPrefix(l.entries[i], prefix); i++ {
		if !yield(l.entries[i][len(prefix):]) {
			return false
		}
	}
	return true
}

// GrantsOf gives the grants on a key to a grantee. The list is shared. From the cache this takes no
// lock; whoever has no grants is remembered as well. It reads no records: see GrantList.
func (s *Store) GrantsOf(ctx context.Context, key KeyID, grantee string) (*GrantList, error) {
	var buf [maxEngineKey]byte
	place := grantListPlace(key, grantee).append(buf[:0])
	if e, ok := s.cache.get(place); ok {
		return e.record.(*GrantList), nil
	}
	t := s.cache.ticket(place)
	entries, _, err := s.scanPrefix(ctx, keyedPlace(key, "grantee", grantee+grantSeparator), "", math.MaxInt)
	if err != nil {
		return nil, fmt.Errorf("grants of a grantee: %w", err)
	}
	list := &GrantList{entries}
	s.cache.put(t, string(place), &entry{record: list})
	return list, nil
}

// grantListPlace is where the cache has a list. It is the place of no record.
func grantListPlace(key KeyID, grantee string) engineKey { return keyedPlace(key, "grantee", grantee) }

// forget invalidates what the cache has of a place: its record and, where the place is that of a
// grantee's index entry, the list that the entry is part of.
func (s *Store) forget(place []byte) {
	s.cache.invalidate(place)
	if !bytes.Contains(place, []byte("/grantee/")) {
		return
	}
	list := place
	for range 2 { // the grant id and the selector
		list = list[:max(0, bytes.LastIndexByte(list, grantSeparator[0]))]
	}
	s.cache.invalidate(list)
}
