package integration_test

import (
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

// TestManyResidentKeysAtOnce makes and uses Ed25519 keys, whose objects stay in the token, from many
// connections. SoftHSM2 now and then fails to make such an object while another session makes one
// or searches for one: the server has to keep those calls apart.
func TestManyResidentKeysAtOnce(t *testing.T) {
	const workers, each = 12, 16
	client := kms11test.Start(t).Client(t)
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for range each {
				in := kms.CreateKeyInput{KeySpec: types.KeySpecEccNistEdwards25519, KeyUsage: types.KeyUsageTypeSignVerify}
				made, err := client.CreateKey(t.Context(), &in)
				if err != nil {
					t.Error(err)
					continue
				}
				confirm, err := evidenceOf(t.Context(), client, made.KeyMetadata)
				if err == nil {
					err = confirm(t.Context(), client)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	running.Wait()
}
