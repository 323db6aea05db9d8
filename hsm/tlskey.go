package hsm

import (
	"crypto"
	"errors"
	"fmt"

	"github.com/ThalesGroup/crypto11"
)

// tlsSessions bounds the sessions for a TLS key: handshakes are rare beside requests.
const tlsSessions = 8

// A TLSKey is a private key that stays in its token and signs for TLS. It is safe for concurrent
// use.
type TLSKey struct {
	crypto.Signer
	context *crypto11.Context
}

// OpenTLSKey finds the key pair that the URI names by object (CKA_LABEL) or id (CKA_ID); both halves
// have to be in the token. It has to come before any OpenToken on the same library, because
// crypto11 insists on calling C_Initialize itself; the library is then not this package's to
// restart, so a token of it that only comes back after C_Finalize needs a restart of the process.
func OpenTLSKey(uri URI) (*TLSKey, error) {
	if uri.Object == "" && len(uri.ID) == 0 {
		return nil, errors.New("the PKCS#11 URI of a TLS key names it by object or id")
	}
	pin, err := uri.PIN()
	if err != nil {
		return nil, err
	}
	config := &crypto11.Config{Path: uri.ModulePath, Pin: pin.value(), MaxSessions: tlsSessions}
	switch {
	case uri.SlotID != nil:
		slot := int(*uri.SlotID)
		config.SlotNumber = &slot
	case uri.Serial != "":
		config.TokenSerial = uri.Serial
	default:
		config.TokenLabel = uri.Token
	}
	context, err := crypto11.Configure(config)
	if err != nil {
		return nil, fmt.Errorf("TLS key %s: %w", uri, err)
	}
	var label []byte // nil matches any
	if uri.Object != "" {
		label = []byte(uri.Object)
	}
	pair, err := context.FindKeyPair(uri.ID, label)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("TLS key %s: %w", uri, err), context.Close())
	}
	return &TLSKey{Signer: pair, context: context}, nil
}

// Close ends the sessions, and the library if nothing else of crypto11 uses it: close the tokens
// first.
func (k *TLSKey) Close() error { return k.context.Close() }
