package ops

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/kms11/kms11/hsm"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// An AWS managed key is one that a service uses for an account: it has the alias
// alias/aws/<service>, is made when the service first uses it for one of the account's principals,
// and rotates every year. Its key policy, which nobody can change, lets the account's principals use
// it through the service only, and lets the account look at it; so every other operation on it is
// refused as one that the key policy does not allow, which is AWS's answer too.

// managedPeriod is the rotation period of an AWS managed key, in days (AWS KMS Developer Guide,
// "Rotate AWS KMS keys").
const managedPeriod = 365

// managedAlias gives the service that an alias is reserved for, if the request is one that the service
// sends for a principal of the alias's account.
func (s *Service) managedAlias(call *Call, alias kms.ARN) (*ServiceIdentity, bool) {
	name, reserved := strings.CutPrefix(alias.Resource, reservedPrefix)
	if !reserved || !call.Via.OnBehalf || alias.Account != call.Caller.Principal.Account {
		return nil, false
	}
	identity, known := s.services.byAlias[name]
	return identity, known && identity.Principal == call.Via.Principal
}

// createManagedKey makes an AWS managed key with its alias. If another request was faster, that one's
// key stays.
func (s *Service) createManagedKey(ctx context.Context, call *Call, alias kms.ARN, identity *ServiceIdentity) error {
	id, err := s.newKeyID(ctx, alias.Region, false)
	if err != nil {
		return err
	}
	now := s.now().UTC()
	record := &keystore.KeyRecord{
		Partition:   alias.Partition,
		Account:     alias.Account,
		Region:      alias.Region,
		ID:          id,
		Created:     now,
		Description: "Default key that protects my " + identity.Alias + " data when no other key is defined",
		Spec:        kms.KeySpecSymmetricDefault,
		Usage:       kms.KeyUsageTypeEncryptDecrypt,
		Origin:      kms.OriginTypeAwsKms,
		Manager:     kms.KeyManagerTypeAws,
		State:       kms.KeyStateEnabled,
		Policy:      managedKeyPolicy(alias, identity.Alias, call.Via.Service(alias.Region)),
		Rotation:    &keystore.Rotation{Enabled: true, PeriodInDays: managedPeriod, Next: afterPeriod(now, managedPeriod)},
	}
	material, err := s.generate(ctx, alias.Region, hsm.KeyRequest{Spec: record.Spec, Usage: record.Usage, KeyID: id})
	if err != nil {
		return creationError(record.Spec, err)
	}
	material.Ordinal, material.Created = 1, now
	record.Materials, record.Current = []keystore.KeyMaterial{{Material: material}}, 1
	name := aliasID(alias)
	event := s.serviceCall("CreateKey", record)
	err = s.update(ctx, event, func(tx *keystore.Tx) error {
		if err := tx.CreateKey(record); err != nil {
			return err
		}
		event.happen(record)
		return tx.CreateAlias(&keystore.AliasRecord{
			Partition: name.Partition, Account: name.Account, Region: name.Region, Name: name.Name,
			TargetKeyID: id, Created: now, Updated: now,
		})
	})
	if err != nil {
		abandoned := s.abandon(ctx, record.KeyID(), &material)
		if errors.Is(err, keystore.ErrExists) {
			return abandoned
		}
		return errors.Join(err, abandoned)
	}
	s.concludeService(event)
	return nil
}

// managedKeyPolicy is the key policy of an AWS managed key in AWS's form (AWS Secrets Manager User
// Guide and Amazon WorkMail Administrator Guide, which print those of their keys).
func managedKeyPolicy(alias kms.ARN, service, via string) string {
	quoted := func(s string) string {
		text, _ := json.Marshal(s) // a string never fails
		return string(text)
	}
	sid := quoted("Allow access through " + service + " for all principals in the account that are authorized to use " + service)
	return `{
  "Version" : "2012-10-17",
  "Id" : ` + quoted("auto-"+service+"-1") + `,
  "Statement" : [ {
    "Sid" : ` + sid + `,
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "*"
    },
    "Action" : [ "kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:CreateGrant", "kms:DescribeKey" ],
    "Resource" : "*",
    "Condition" : {
      "StringEquals" : {
        "kms:ViaService" : ` + quoted(via) + `,
        "kms:CallerAccount" : ` + quoted(alias.Account) + `
      }
    }
  }, {
    "Sid" : "Allow direct access to key metadata to the account",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : ` + quoted(accountARN(alias.Partition, alias.Account)) + `
    },
    "Action" : [ "kms:Describe*", "kms:Get*", "kms:List*", "kms:RevokeGrant" ],
    "Resource" : "*"
  } ]
}`
}

// compareAliases orders the names of aliases as the store does: '/' comes before all others that a
// name may have.
func compareAliases(a, b string) int {
	for i := range min(len(a), len(b)) {
		if x, y := a[i], b[i]; x != y {
			if x == '/' || y != '/' && x < y {
				return -1
			}
			return 1
		}
	}
	return len(a) - len(b)
}

// withManaged merges the reserved aliases of services into a page of an account's aliases: AWS lists
// them whether their keys have been made or not.
func (s *Service) withManaged(names []string, more bool, after string, limit int) ([]string, bool) {
	if len(s.services.aliases) == 0 {
		return names, more
	}
	merged := make([]string, 0, len(names)+len(s.services.aliases))
	rest := names
	for _, reserved := range s.services.aliases {
		if after != "" && compareAliases(reserved, after) <= 0 {
			continue
		}
		for len(rest) > 0 && compareAliases(rest[0], reserved) < 0 {
			merged, rest = append(merged, rest[0]), rest[1:]
		}
		if len(rest) == 0 && more {
			break // it belongs to a later page
		}
		if len(rest) == 0 || rest[0] != reserved {
			merged = append(merged, reserved)
		}
	}
	merged = append(merged, rest...)
	if len(merged) > limit {
		return merged[:limit], true
	}
	return merged, more
}
