package integration_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

// secondRegion is served beside kms11test.Region.
const secondRegion = "eu-west-1"

// twoRegions starts a server for both Regions.
func twoRegions(t *testing.T) *kms11test.Server {
	t.Helper()
	config := filepath.Join(t.TempDir(), "kms11.yaml")
	if err := os.WriteFile(config, []byte("regions: ["+secondRegion+"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return kms11test.Start(t, "--config", config)
}

// in is a client for another Region.
func in(client *kms.Client, region string) *kms.Client {
	return kms.New(client.Options(), func(o *kms.Options) { o.Region = region })
}

// TestMultiRegionKey takes a key through two Regions as the SDK sees them: replication, use on both
// sides, rotation, change of the primary Region, a restart, deletion.
func TestMultiRegionKey(t *testing.T) {
	server := twoRegions(t)
	ctx := t.Context()
	here := server.Client(t)
	there := in(here, secondRegion)
	key := must(here.CreateKey(ctx, &kms.CreateKeyInput{MultiRegion: aws.Bool(true)}))(t).KeyMetadata
	id := key.KeyId
	thereARN := "arn:aws:kms:" + secondRegion + ":" + kms11test.Account + ":key/" + *id

	_, err := there.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: id})
	wantError[*types.NotFoundException](t, err, "Key '"+thereARN+"' does not exist")
	replica := must(here.ReplicateKey(ctx, &kms.ReplicateKeyInput{
		KeyId: id, ReplicaRegion: aws.String(secondRegion), Description: aws.String("over there"),
		Tags: []types.Tag{{TagKey: aws.String("side"), TagValue: aws.String("far")}},
	}))(t)
	if m := replica.ReplicaKeyMetadata; m.KeyState != types.KeyStateCreating || m.Enabled || *m.Arn != thereARN || *m.KeyId != *id {
		t.Errorf("ReplicateKey shows %s, enabled %v, %s", m.KeyState, m.Enabled, *m.Arn)
	}
	if len(replica.ReplicaTags) != 1 || aws.ToString(replica.ReplicaPolicy) == "" {
		t.Errorf("ReplicateKey gives %d tags and the policy %q", len(replica.ReplicaTags), aws.ToString(replica.ReplicaPolicy))
	}
	found := describe(t, there, *id)
	if c := found.MultiRegionConfiguration; found.KeyState != types.KeyStateEnabled || aws.ToString(found.Description) != "over there" ||
		c.MultiRegionKeyType != types.MultiRegionKeyTypeReplica || *c.PrimaryKey.Arn != *key.Arn || len(c.ReplicaKeys) != 1 {
		t.Errorf("the replica is %+v of %+v", found, c)
	}
	_, err = here.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: id, ReplicaRegion: aws.String(secondRegion)})
	wantError[*types.AlreadyExistsException](t, err, "Key '"+thereARN+"' already exists")
	_, err = there.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: id, ReplicaRegion: aws.String(kms11test.Region)})
	wantError[*types.UnsupportedOperationException](t, err, thereARN+" is not a multi-region primary key.")

	bothWays := func(here, there *kms.Client) {
		t.Helper()
		for _, pair := range [][2]*kms.Client{{here, there}, {there, here}} {
			sealed := must(pair[0].Encrypt(ctx, &kms.EncryptInput{KeyId: id, Plaintext: []byte("across")}))(t)
			opened := must(pair[1].Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob}))(t)
			if !bytes.Equal(opened.Plaintext, []byte("across")) || *opened.KeyId == *sealed.KeyId {
				t.Errorf("sealed under %s, opened under %s to %d bytes", *sealed.KeyId, *opened.KeyId, len(opened.Plaintext))
			}
		}
	}
	bothWays(here, there)
	must(here.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: id}))(t)
	if ours, theirs := describe(t, here, *id), describe(t, there, *id); *ours.CurrentKeyMaterialId != *theirs.CurrentKeyMaterialId ||
		*ours.CurrentKeyMaterialId == *key.CurrentKeyMaterialId {
		t.Error("after a rotation the Regions do not share the new material")
	}
	bothWays(here, there)

	must(there.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/there"), TargetKeyId: id}))(t)
	if aliases := must(here.ListAliases(ctx, &kms.ListAliasesInput{KeyId: id}))(t).Aliases; len(aliases) != 0 {
		t.Errorf("the alias shows in the other Region: %v", aliases)
	}
	must(here.UpdatePrimaryRegion(ctx, &kms.UpdatePrimaryRegionInput{KeyId: id, PrimaryRegion: aws.String(secondRegion)}))(t)
	server.Stop(t)
	server.Restart(t)
	here = server.Client(t)
	there = in(here, secondRegion)
	for _, client := range []*kms.Client{here, there} {
		if c := describe(t, client, *id).MultiRegionConfiguration; *c.PrimaryKey.Arn != thereARN || len(c.ReplicaKeys) != 1 || *c.ReplicaKeys[0].Arn != *key.Arn {
			t.Errorf("after UpdatePrimaryRegion the key in %s says %+v", client.Options().Region, c)
		}
	}
	bothWays(here, there)

	deleted := must(there.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: aws.Int32(7)}))(t)
	if deleted.KeyState != types.KeyStatePendingReplicaDeletion || deleted.DeletionDate != nil {
		t.Errorf("the primary key is %s, to be deleted %v", deleted.KeyState, deleted.DeletionDate)
	}
	if state := describe(t, here, *id).KeyState; state != types.KeyStateEnabled {
		t.Errorf("meanwhile the replica is %s", state)
	}
}

// TestRegionsOfServer: keys are seen in their own Region only, and no other Region is served.
func TestRegionsOfServer(t *testing.T) {
	here := twoRegions(t).Client(t)
	there := in(here, secondRegion)
	ctx := t.Context()
	key := createKey(t, there)
	if keys := must(here.ListKeys(ctx, &kms.ListKeysInput{}))(t).Keys; len(keys) != 0 {
		t.Errorf("%d keys are listed in the wrong Region", len(keys))
	}
	if keys := must(there.ListKeys(ctx, &kms.ListKeysInput{}))(t).Keys; len(keys) != 1 || *keys[0].KeyArn != *key.Arn {
		t.Errorf("%d keys are listed in their Region", len(keys))
	}
	_, err := in(here, "us-west-2").ListKeys(ctx, &kms.ListKeysInput{})
	wantCode(t, err, "InvalidSignatureException", "Credential should be scoped to a valid region")
	multi := must(here.CreateKey(ctx, &kms.CreateKeyInput{MultiRegion: aws.Bool(true)}))(t).KeyMetadata
	_, err = here.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: multi.KeyId, ReplicaRegion: aws.String("us-west-2")})
	wantCode(t, err, "ValidationException", "us-west-2 is not a Region that this server serves.")
}

// TestDevModeServesEveryRegion: a replica can be anywhere in the partition.
func TestDevModeServesEveryRegion(t *testing.T) {
	here := kms11test.Start(t, "--dev").Client(t)
	ctx := t.Context()
	key := must(here.CreateKey(ctx, &kms.CreateKeyInput{MultiRegion: aws.Bool(true)}))(t).KeyMetadata
	for _, region := range []string{"ap-southeast-2", "sa-east-1"} {
		must(here.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: key.KeyId, ReplicaRegion: &region}))(t)
		if state := describe(t, in(here, region), *key.KeyId).KeyState; state != types.KeyStateEnabled {
			t.Errorf("the replica in %s is %s", region, state)
		}
	}
	_, err := here.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: key.KeyId, ReplicaRegion: aws.String("cn-north-1")})
	wantCode(t, err, "ValidationException", "partition")
}
