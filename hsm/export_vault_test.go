package hsm

import "testing"

// TokenOf is the token of a vault.
func TokenOf(v *Vault) *Token { return v.token }

// VaultObjects lists every object of a vault's token that the login can see.
func VaultObjects(t testing.TB, v *Vault) []AnObject { return Objects(t, v.token) }

// DeleteObject deletes the token object with a CKA_ID, as another program does.
func DeleteObject(t testing.TB, v *Vault, id string) {
	t.Helper()
	err := v.token.do(t.Context(), laneHold, func(s *session) error {
		found, err := s.findSecrets([]byte(id))
		if err != nil {
			return err
		}
		if len(found) != 1 {
			t.Fatalf("%d objects %q", len(found), id)
		}
		return s.destroyObject(found[0])
	})
	if err != nil {
		t.Fatal(err)
	}
}
