package ops

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

func (h *harness) tags(keyID string, limit int) []string {
	h.t.Helper()
	var tags []string
	request := kms.ListResourceTagsRequest{KeyId: keyID, Limit: limit}
	for {
		out := h.must("ListResourceTags", request).(*kms.ListResourceTagsResponse)
		for _, tag := range out.Tags {
			tags = append(tags, tag.TagKey+"="+tag.TagValue)
		}
		if !out.Truncated {
			return tags
		}
		request.Marker = out.NextMarker
	}
}

func tag(pairs ...string) []kms.Tag {
	var tags []kms.Tag
	for _, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		tags = append(tags, kms.Tag{TagKey: key, TagValue: value})
	}
	return tags
}

func TestTags(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(kms.CreateKeyRequest{Tags: tag("b=1", "a=2")})
	h.must("TagResource", kms.TagResourceRequest{KeyId: key.Arn, Tags: tag("b=3", "c=", "A=4")})
	want := []string{"A=4", "a=2", "b=3", "c="}
	for _, limit := range []int{0, 1, 3, 50} {
		if got := h.tags(key.KeyId, limit); !slices.Equal(got, want) {
			t.Errorf("in pages of %d: %v, want %v", limit, got, want)
		}
	}
	h.must("UntagResource", kms.UntagResourceRequest{KeyId: key.KeyId, TagKeys: []string{"a", "absent", "b"}})
	h.restart()
	if got := h.tags(key.KeyId, 0); !slices.Equal(got, []string{"A=4", "c="}) {
		t.Errorf("after UntagResource: %v", got)
	}
}

// TestTaggingANewKeyIsDenied: there is no key yet that the text could name. AWS answers so.
func TestTaggingANewKeyIsDenied(t *testing.T) {
	h := newHarness(t)
	call := h.userCall(account, "alice", allow("kms:CreateKey", "*"), `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"kms:TagResource",
		"Resource":"*","Condition":{"StringEquals":{"aws:RequestTag/team":"blue"}}}]}`)
	for pair, end := range map[string]string{
		"team=red":  "because no identity-based policy allows the kms:TagResource action",
		"team=blue": "with an explicit deny in an identity-based policy",
	} {
		_, err := h.invokeAs(call, "CreateKey", kms.CreateKeyRequest{Tags: tag(pair)})
		wantError(t, err, kms.AccessDeniedException, "User: arn:aws:iam::"+account+":user/alice is not authorized to perform: kms:TagResource "+end)
	}
	if _, err := h.invokeAs(call, "CreateKey", kms.CreateKeyRequest{}); err != nil {
		t.Error(err)
	}
}

func TestTagErrors(t *testing.T) {
	h := newHarness(t)
	var full []kms.Tag
	for i := range maxTags {
		full = append(full, kms.Tag{TagKey: fmt.Sprintf("k%02d", i)})
	}
	key := h.createKey(kms.CreateKeyRequest{Tags: full})
	empty := h.createKey(nil)
	for _, c := range []struct {
		name string
		key  string
		tags []kms.Tag
		code kms.ErrorCode
		text string
	}{
		{"one too many", key.KeyId, tag("new="), kms.TagException, "Too many tags"},
		{"51 at once", empty.KeyId, append(slices.Clone(full), tag("new=")...), kms.TagException, "Too many tags"},
		{"twice", empty.KeyId, tag("a=1", "a=2"), kms.TagException, "Duplicate tag keys"},
		{"reserved", empty.KeyId, tag("aws:x=1"), kms.TagException, "Tags beginning with aws: are reserved"},
		{"reserved in capitals", empty.KeyId, tag("AWS:x=1"), kms.TagException, "Tags beginning with aws: are reserved"},
		{"long value", empty.KeyId, tag("a=" + strings.Repeat("v", 257)), kms.ValidationException,
			"1 validation error detected: Value '" + strings.Repeat("v", 257) + "' at 'tags.1.member.tagValue' failed to satisfy constraint: Member must have length less than or equal to 256"},
		{"no such key", ghostKey, tag("a=1"), kms.NotFoundException, "Key 'arn:aws:kms:us-east-1:111122223333:key/" + ghostKey + "' does not exist"},
		{"replace one of 50", key.KeyId, tag("k07=v"), "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := h.invoke("TagResource", kms.TagResourceRequest{KeyId: c.key, Tags: c.tags})
			if c.code != "" {
				wantError(t, err, c.code, c.text)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	if got := h.tags(empty.KeyId, 0); len(got) != 0 {
		t.Errorf("errors left the tags %v", got)
	}
	_, err := h.invoke("ListResourceTags", in{"KeyId": key.KeyId, "Limit": 51})
	wantError(t, err, kms.ValidationException, "1 validation error detected: Value '51' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 50")
	_, err = h.invoke("ListResourceTags", in{"KeyId": key.KeyId, "Marker": marker("ListAliases", "a")})
	wantError(t, err, kms.InvalidMarkerException, "The marker is not valid.")
}

// TestMarkerOfLongestTag: the longest key in the widest characters still makes a marker that the
// API accepts.
func TestMarkerOfLongestTag(t *testing.T) {
	h := newHarness(t)
	long := strings.Repeat("\U0001F511", 64) // 128 UTF-16 code units
	key := h.createKey(kms.CreateKeyRequest{Tags: tag(long+"=v", "z=v")})
	h.editRecord(key.KeyId, func(r *keystore.KeyRecord) { r.Tags = append(r.Tags, keystore.Tag{Key: "\U0001F512"}) })
	if got := h.tags(key.KeyId, 1); len(got) != 3 {
		t.Errorf("%d tags", len(got))
	}
}
