package ops

import (
	"cmp"
	"strconv"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/policy"
)

// ofKey gives what is true of the key, or of the key that CreateKey is asked for. A ReplicateKey
// needs kms:CreateKey for a key like its primary one; there the question has that key.
func ofKey(q *question, key func(*keystore.KeyRecord) string, asked func(*kms.CreateKeyRequest) string) policy.Values {
	if q.key.KeyRecord != nil {
		return policy.OneOf(key(q.key.KeyRecord))
	}
	return of(q, asked)
}

func keySpec(q *question, _ string) policy.Values {
	return ofKey(q, func(r *keystore.KeyRecord) string { return string(r.Spec) }, func(in *kms.CreateKeyRequest) string {
		spec, _, _ := specAndUsage(in)
		return string(spec)
	})
}

func keyUsage(q *question, _ string) policy.Values {
	return ofKey(q, func(r *keystore.KeyRecord) string { return string(r.Usage) }, func(in *kms.CreateKeyRequest) string {
		_, usage, _ := specAndUsage(in)
		return string(usage)
	})
}

func keyOrigin(q *question, _ string) policy.Values {
	return ofKey(q, func(r *keystore.KeyRecord) string { return string(r.Origin) }, func(in *kms.CreateKeyRequest) string {
		return string(cmp.Or(in.Origin, kms.OriginTypeAwsKms))
	})
}

func multiRegion(q *question, _ string) policy.Values {
	return ofKey(q, func(r *keystore.KeyRecord) string { return strconv.FormatBool(r.MultiRegion != nil) },
		func(in *kms.CreateKeyRequest) string { return strconv.FormatBool(in.MultiRegion) })
}

func multiRegionType(q *question, _ string) policy.Values {
	return ofKey(q, func(r *keystore.KeyRecord) string {
		if r.MultiRegion == nil {
			return ""
		}
		return string(r.MultiRegion.Type)
	}, func(in *kms.CreateKeyRequest) string {
		if !in.MultiRegion {
			return ""
		}
		return string(kms.MultiRegionKeyTypePrimary)
	})
}

func resourceAliases(q *question, _ string) policy.Values {
	names := make([]string, len(q.key.Aliases))
	for i, name := range q.key.Aliases {
		names[i] = aliasPrefix + name
	}
	return policy.Many(names)
}

// daysWithoutUse are the whole days since the key was last used or, if that was never noted, since
// uses are. Where they cannot be told the key is absent.
func daysWithoutUse(q *question, _ string) policy.Values {
	idle := &q.idle
	if !idle.known {
		idle.known = true
		since := q.service.trackedSince(q.key)
		read := func(id keystore.KeyID) (*keystore.LastUsageRecord, error) {
			if q.tx != nil {
				return q.tx.LastUsage(id)
			}
			return q.service.store.LastUsage(q.context(), id)
		}
		last, used, err := q.service.lastUse(q.key, read)
		if used {
			since = last.at
		}
		idle.days, idle.err = int64(q.service.now().Sub(since)/(24*time.Hour)), err
	}
	if idle.err != nil {
		return policy.Values{}
	}
	return policy.One(strconv.FormatInt(max(idle.days, 0), 10))
}

func resourceTag(q *question, part string) policy.Values {
	return foldedValue(part, q.key.Tags, func(tags []keystore.Tag, do func(key, value string)) {
		for i := range tags {
			do(tags[i].Key, tags[i].Value)
		}
	})
}

// tagsOf are the tags that the request sets.
func tagsOf(q *question) []kms.Tag {
	switch in := q.input.(type) {
	case *kms.CreateKeyRequest:
		return in.Tags
	case *kms.ReplicateKeyRequest:
		return in.Tags
	case *kms.TagResourceRequest:
		return in.Tags
	}
	return nil
}

func requestTag(q *question, part string) policy.Values {
	return foldedValue(part, tagsOf(q), func(tags []kms.Tag, do func(key, value string)) {
		for i := range tags {
			do(tags[i].TagKey, tags[i].TagValue)
		}
	})
}

func tagKeys(q *question, _ string) policy.Values {
	if in, ok := q.input.(*kms.UntagResourceRequest); ok {
		return policy.Many(in.TagKeys)
	}
	tags := tagsOf(q)
	keys := make([]string, len(tags))
	for i := range tags {
		keys[i] = tags[i].TagKey
	}
	return policy.Many(keys)
}
