package keystore_test

import (
	"errors"
	"testing"

	"github.com/kms11/kms11/keystore"
)

func TestFindKey(t *testing.T) {
	e, a := newEngine(t), newAuthenticator()
	s := newStore(t, e, a)
	for _, account := range []string{"111122223333", "444455556666", "777788889999"} {
		own := newKey("of-" + account)
		own.Account = account
		putKey(t, s, own)
	}
	last := newKey("shared-name")
	last.Account = "777788889999"
	putKey(t, s, last)
	// What belongs to no account, or to accounts that hold no keys, is in the way of nothing.
	rawPut(t, e, "aws/-/us-east-1/key/of-444455556666", []byte("x"))
	rawPut(t, e, "aws/444455556666/-/user/u", []byte("x"))
	if accounts, err := s.Accounts(t.Context(), "aws"); err != nil || len(accounts) != 3 || accounts[1] != "444455556666" {
		t.Errorf("accounts %v, %v", accounts, err)
	}
	for id, account := range map[string]string{"of-111122223333": "111122223333", "of-444455556666": "444455556666", "shared-name": "777788889999"} {
		key, err := s.FindKey(t.Context(), "aws", "us-east-1", id)
		if err != nil || key.Account != account {
			t.Errorf("%s: got %+v, %v", id, key, err)
		}
	}
	for name, where := range map[string][3]string{
		"another Region": {"aws", "eu-west-1", "shared-name"}, "another partition": {"aws-cn", "us-east-1", "shared-name"}, "no such id": {"aws", "us-east-1", "none"},
	} {
		if _, err := s.FindKey(t.Context(), where[0], where[1], where[2]); !errors.Is(err, keystore.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
