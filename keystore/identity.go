package keystore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
)

// Identity is what users and roles have in common: what they may do, and their tags.
type Identity struct {
	// Policies are identity policies by name. White space between JSON tokens is not kept.
	Policies map[string]json.RawMessage `json:"policies,omitempty"`
	// Boundary is the permissions boundary, a policy, if there is one.
	Boundary json.RawMessage   `json:"boundary,omitempty"`
	Tags     map[string]string `json:"tags,omitempty"`
}

func (i *Identity) clone() Identity {
	c := Identity{Policies: maps.Clone(i.Policies), Boundary: bytes.Clone(i.Boundary), Tags: maps.Clone(i.Tags)}
	for name, policy := range c.Policies {
		c.Policies[name] = bytes.Clone(policy)
	}
	return c
}

// compact brings the policies into the one form that is written.
func (i *Identity) compact() (err error) {
	for name, policy := range i.Policies {
		if i.Policies[name], err = compactJSON(policy); err != nil {
			return fmt.Errorf("policy %q is not JSON: %w", name, err)
		}
	}
	if i.Boundary != nil {
		if i.Boundary, err = compactJSON(i.Boundary); err != nil {
			return fmt.Errorf("the boundary is not JSON: %w", err)
		}
	}
	return nil
}

func compactJSON(text json.RawMessage) (json.RawMessage, error) {
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return nil, err
	}
	return compact.Bytes(), nil
}
