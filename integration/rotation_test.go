package integration_test

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

// TestGenerations rotates a key as often as it may be rotated on demand, with a restart in the middle
// and a kill at the end, and decrypts a ciphertext of each generation. The 26th rotation is refused,
// after the restart too.
func TestGenerations(t *testing.T) {
	server := kms11test.Start(t)
	client := server.Client(t)
	ctx := t.Context()
	const rotations = 25
	key := createKey(t, client)
	var blobs [rotations + 1][]byte
	materials := map[string]int{}
	encrypt := func(generation int) {
		t.Helper()
		blobs[generation] = must(client.Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: fmt.Appendf(nil, "generation %d", generation)}))(t).CiphertextBlob
		current := aws.ToString(describe(t, client, *key.KeyId).CurrentKeyMaterialId)
		if earlier, known := materials[current]; known {
			t.Errorf("generation %d has the material of generation %d", generation, earlier)
		}
		materials[current] = generation
	}
	encrypt(0)
	for generation := 1; generation <= rotations; generation++ {
		if generation == rotations/2 {
			server.Stop(t)
			server.Restart(t)
			client = server.Client(t)
		}
		must(client.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: key.KeyId}))(t)
		encrypt(generation)
	}
	exhausted := "The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be performed for this key: " + *key.Arn
	_, err := client.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: key.KeyId})
	wantError[*types.LimitExceededException](t, err, exhausted)

	server.Kill(t)
	server.Restart(t)
	client = server.Client(t)
	for generation, blob := range blobs {
		opened := must(client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob}))(t)
		if want := fmt.Sprintf("generation %d", generation); string(opened.Plaintext) != want {
			t.Errorf("it opens as %q, want %q", opened.Plaintext, want)
		}
		if materials[aws.ToString(opened.KeyMaterialId)] != generation {
			t.Errorf("generation %d was opened with the material of another", generation)
		}
	}
	_, err = client.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: key.KeyId})
	wantError[*types.LimitExceededException](t, err, exhausted)

	// The list has them all, page by page.
	var listed []types.RotationsListEntry
	pages := kms.NewListKeyRotationsPaginator(client, &kms.ListKeyRotationsInput{KeyId: key.KeyId, Limit: aws.Int32(7), IncludeKeyMaterial: types.IncludeKeyMaterialAllKeyMaterial})
	for pages.HasMorePages() {
		listed = append(listed, must(pages.NextPage(ctx))(t).Rotations...)
	}
	if len(listed) != rotations+1 {
		t.Fatalf("%d materials are listed, want %d", len(listed), rotations+1)
	}
	for generation, entry := range listed {
		current := types.KeyMaterialStateNonCurrent
		if generation == rotations {
			current = types.KeyMaterialStateCurrent
		}
		if materials[aws.ToString(entry.KeyMaterialId)] != generation || entry.KeyMaterialState != current || (entry.RotationType == types.RotationTypeOnDemand) != (generation > 0) {
			t.Errorf("generation %d is listed as %+v", generation, entry)
		}
	}
}
