package ops

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

const (
	// maxTags is the number of tags a key may have (AWS KMS quotas).
	maxTags = 50
	// defaultListTags is the page size of ListResourceTags without a Limit.
	defaultListTags = 50
)

// TagResource implements the operation TagResource: a tag whose key is there already gets the new
// value.
func (s *Service) TagResource(ctx context.Context, call *Call, in *kms.TagResourceRequest) error {
	_, err := s.changeKey(ctx, call, in.KeyId, func(r *keystore.KeyRecord) error {
		tags, err := newTags(in.Tags)
		if err != nil {
			return err
		}
		for _, tag := range tags {
			i := slices.IndexFunc(r.Tags, func(t keystore.Tag) bool { return t.Key == tag.Key })
			if i < 0 {
				r.Tags = append(r.Tags, tag)
			} else {
				r.Tags[i] = tag
			}
		}
		return checkTagCount(len(r.Tags))
	})
	return err
}

// UntagResource implements the operation UntagResource. A tag that the key does not have is not
// an error.
func (s *Service) UntagResource(ctx context.Context, call *Call, in *kms.UntagResourceRequest) error {
	return s.editKey(ctx, call, in.KeyId, func(r *keystore.KeyRecord) {
		r.Tags = slices.DeleteFunc(r.Tags, func(t keystore.Tag) bool { return slices.Contains(in.TagKeys, t.Key) })
	})
}

// ListResourceTags implements the operation ListResourceTags, in the order of the tag keys.
func (s *Service) ListResourceTags(ctx context.Context, call *Call, in *kms.ListResourceTagsRequest) (*kms.ListResourceTagsResponse, error) {
	k, err := s.resolve(ctx, call, in.KeyId)
	if err != nil {
		return nil, err
	}
	if err := s.authorizeKey(call, k); err != nil {
		return nil, err
	}
	after, err := openMarker(call.Operation, in.Marker)
	if err != nil {
		return nil, err
	}
	sorted := slices.Clone(k.Tags)
	slices.SortFunc(sorted, func(a, b keystore.Tag) int { return cmp.Compare(a.Key, b.Key) })
	tags, more := page(sorted, after, limitOr(in.Limit, defaultListTags), func(t keystore.Tag) string { return t.Key })
	out := &kms.ListResourceTagsResponse{Tags: make([]kms.Tag, 0, len(tags)), Truncated: more}
	for _, tag := range tags {
		out.Tags = append(out.Tags, kms.Tag{TagKey: tag.Key, TagValue: tag.Value})
	}
	if more {
		out.NextMarker = marker(call.Operation, tags[len(tags)-1].Key)
	}
	return out, nil
}

// newTags checks the tags of a request (AWS KMS API reference, TagResource).
func newTags(in []kms.Tag) ([]keystore.Tag, error) {
	if err := checkTagCount(len(in)); err != nil {
		return nil, err
	}
	tags := make([]keystore.Tag, 0, len(in))
	seen := make(map[string]bool, len(in))
	for _, tag := range in {
		if len(tag.TagKey) >= 4 && strings.EqualFold(tag.TagKey[:4], "aws:") {
			return nil, kms.Errorf(kms.TagException, "Tags beginning with aws: are reserved")
		}
		if seen[tag.TagKey] {
			return nil, kms.Errorf(kms.TagException, "Duplicate tag keys")
		}
		seen[tag.TagKey] = true
		tags = append(tags, keystore.Tag{Key: tag.TagKey, Value: tag.TagValue})
	}
	return tags, nil
}

func checkTagCount(n int) error {
	if n > maxTags {
		return kms.Errorf(kms.TagException, "Too many tags")
	}
	return nil
}
