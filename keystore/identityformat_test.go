package keystore

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"
)

func sampleIdentity() Identity {
	return Identity{Policies: map[string]json.RawMessage{"p": json.RawMessage(`{ "a" : 1 }`)},
		Boundary: json.RawMessage(`{ "b" : 2 }`), Tags: map[string]string{"team": "<red>"}}
}

func sampleRole() *RoleRecord {
	return &RoleRecord{Partition: "aws", Account: "1", Name: "n", ARN: "a", Created: time.Unix(1, 2), ID: "AROAEXAMPLE",
		Description: "d", Trust: json.RawMessage(`{ "t" : 3 }`), MaxSessionSeconds: 3600, Revoked: time.Unix(3, 4), Identity: sampleIdentity()}
}

// TestContentOfIdentities pins the members of the JSON, and that the samples leave none out.
func TestContentOfIdentities(t *testing.T) {
	const identity = `"policies":{"p":{"a":1}},"boundary":{"b":2},"tags":{"team":"<red>"}`
	const levels = `{"partition":"aws","account":"1","name":"n","arn":"a","created":"1970-01-01T00:00:01.000000002Z",`
	user, err := userKind.encode(sampleUser())
	if want := levels + `"id":"AIDAEXAMPLE",` + identity + `,"accessKeys":["AKIAEXAMPLE"]}`; err != nil || string(user) != want {
		t.Errorf("a user is\n%s, %v, want\n%s", user, err, want)
	}
	role, err := roleKind.encode(sampleRole())
	if want := levels + `"id":"AROAEXAMPLE","description":"d","trust":{"t":3},"maxSessionSeconds":3600,"revoked":"1970-01-01T00:00:03.000000004Z",` +
		identity + `}`; err != nil || string(role) != want {
		t.Errorf("a role is\n%s, %v, want\n%s", role, err, want)
	}
	for _, v := range []any{*sampleUser(), *sampleRole(), sampleIdentity()} {
		r := reflect.ValueOf(v)
		for i := range r.NumField() {
			if r.Field(i).IsZero() {
				t.Errorf("the sample leaves %s.%s out", r.Type(), r.Type().Field(i).Name)
			}
		}
	}
}

// TestUserOfVersion1 reads the content that came before users had ids, and writes it only with one.
func TestUserOfVersion1(t *testing.T) {
	if !userKind.reads(1) || !userKind.reads(2) || userKind.reads(3) || userKind.reads(0) || roleKind.reads(0) || roleKind.reads(2) {
		t.Error("the wrong content versions are read")
	}
	user, err := userKind.decode([]byte(`{"partition":"aws","account":"1","name":"n","arn":"a","created":"2026-03-01T00:00:00Z","policies":{"p":{}}}`))
	if err != nil || user.ID != "" || user.AccessKeys != nil || len(user.Policies) != 1 {
		t.Fatalf("got %+v, %v", user, err)
	}
	if _, err := userKind.encode(user); !errors.Is(err, ErrInvalid) {
		t.Errorf("it was written without an id: %v", err)
	}
}

func TestClonesShareNothing(t *testing.T) {
	role := sampleRole()
	clone := role.Clone()
	clone.Trust[0], clone.Policies["p"][0], clone.Boundary[0], clone.Tags["team"] = 'x', 'x', 'x', "blue"
	if !reflect.DeepEqual(role, sampleRole()) {
		t.Errorf("the clone's change shows: %+v", role)
	}
	user := sampleUser()
	other := user.Clone()
	other.AccessKeys[0], other.Policies["p"][0] = "x", 'x'
	if !reflect.DeepEqual(user, sampleUser()) {
		t.Errorf("the clone's change shows: %+v", user)
	}
}
