package ops

import (
	"strings"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// maxTags is the number of tags a key may have (AWS KMS quotas).
const maxTags = 50

// newTags checks the tags of a request (AWS KMS API reference, TagResource).
func newTags(in []kms.Tag) ([]keystore.Tag, error) {
	if len(in) > maxTags {
		return nil, kms.Errorf(kms.TagException, "Too many tags")
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
