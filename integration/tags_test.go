package integration_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

func tagList(pairs ...string) (tags []types.Tag) {
	for i := 0; i < len(pairs); i += 2 {
		tags = append(tags, types.Tag{TagKey: &pairs[i], TagValue: &pairs[i+1]})
	}
	return tags
}

func wantTags(t testing.TB, client *kms.Client, id *string, limit int32, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	pages := kms.NewListResourceTagsPaginator(client, &kms.ListResourceTagsInput{KeyId: id, Limit: &limit})
	for pages.HasMorePages() {
		page := must(pages.NextPage(t.Context()))(t)
		if len(page.Tags) > int(limit) || page.Truncated != (page.NextMarker != nil) {
			t.Errorf("a page of %d tags, truncated %v", len(page.Tags), page.Truncated)
		}
		for _, tag := range page.Tags {
			got[aws.ToString(tag.TagKey)] = aws.ToString(tag.TagValue)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("the tags are %q, want %q", got, want)
	}
}

func TestTags(t *testing.T) {
	client := kms11test.Start(t).Client(t)
	ctx := t.Context()
	key := must(client.CreateKey(ctx, &kms.CreateKeyInput{Tags: tagList("team", "red", "Team", "upper case", "empty", "")}))(t).KeyMetadata
	wantTags(t, client, key.KeyId, 50, map[string]string{"team": "red", "Team": "upper case", "empty": ""})

	must(client.TagResource(ctx, &kms.TagResourceInput{KeyId: key.Arn, Tags: tagList("team", "blue", "étage", "3 ✓")}))(t)
	must(client.UntagResource(ctx, &kms.UntagResourceInput{KeyId: key.KeyId, TagKeys: []string{"empty", "never there"}}))(t)
	want := map[string]string{"team": "blue", "Team": "upper case", "étage": "3 ✓"}
	wantTags(t, client, key.Arn, 1, want)

	for name, c := range map[string]struct {
		tags    []types.Tag
		message string
	}{
		"twice":      {tagList("a", "1", "a", "2"), "Duplicate tag keys"},
		"reserved":   {tagList("aws:x", "1"), "Tags beginning with aws: are reserved"},
		"Reserved":   {tagList("AWS:x", "1"), "Tags beginning with aws: are reserved"},
		"51 at once": {manyTags(51), "Too many tags"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := client.TagResource(ctx, &kms.TagResourceInput{KeyId: key.KeyId, Tags: c.tags})
			wantError[*types.TagException](t, err, c.message)
			_, err = client.CreateKey(ctx, &kms.CreateKeyInput{Tags: c.tags})
			wantError[*types.TagException](t, err, c.message)
		})
	}
	long := strings.Repeat("x", 257)
	_, err := client.TagResource(ctx, &kms.TagResourceInput{KeyId: key.KeyId, Tags: tagList("a", long)})
	wantCode(t, err, "ValidationException", "Value '"+long+"' at 'tags.1.member.tagValue' failed to satisfy constraint: Member must have length less than or equal to 256")
	_, err = client.TagResource(ctx, &kms.TagResourceInput{KeyId: key.KeyId, Tags: tagList("a", "", long[:129], "")})
	wantCode(t, err, "ValidationException", "Value '"+long[:129]+"' at 'tags.2.member.tagKey' failed to satisfy constraint: Member must have length less than or equal to 128")
	wantTags(t, client, key.KeyId, 50, want) // none of that left a tag

	must(client.TagResource(ctx, &kms.TagResourceInput{KeyId: key.KeyId, Tags: manyTags(47)}))(t)
	_, err = client.TagResource(ctx, &kms.TagResourceInput{KeyId: key.KeyId, Tags: tagList("the 51st", "")})
	wantError[*types.TagException](t, err, "Too many tags")
	for _, tag := range manyTags(47) {
		want[*tag.TagKey] = *tag.TagValue
	}
	wantTags(t, client, key.KeyId, 7, want)
}

func manyTags(n int) (tags []types.Tag) {
	for i := range n {
		tags = append(tags, tagList(fmt.Sprint("tag ", i), fmt.Sprint("value ", i))...)
	}
	return tags
}
