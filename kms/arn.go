package kms

import "strings"

// ARN names a KMS key or an alias:
//
//	arn:<partition>:kms:<region>:<account>:key/<key id>
//	arn:<partition>:kms:<region>:<account>:alias/<name>
//
// It is comparable, and its zero value names nothing.
type ARN struct {
	Partition string
	Region    string
	Account   string // 12 digits
	Resource  string // "key/<key id>" or "alias/<name>"
}

const (
	keyPrefix   = "key/"
	aliasPrefix = "alias/"
)

// KeyARN makes the ARN of a key. The partition follows from the Region.
func KeyARN(region, account, keyID string) ARN {
	return ARN{PartitionOf(region), region, account, keyPrefix + keyID}
}

// AliasARN makes the ARN of an alias; name begins with "alias/".
func AliasARN(region, account, name string) ARN {
	return ARN{PartitionOf(region), region, account, name}
}

// String gives the ARN's text.
func (a ARN) String() string {
	return "arn:" + a.Partition + ":kms:" + a.Region + ":" + a.Account + ":" + a.Resource
}

// KeyID gives the key id, empty for an alias.
func (a ARN) KeyID() string {
	if id, ok := strings.CutPrefix(a.Resource, keyPrefix); ok {
		return id
	}
	return ""
}

// Alias gives the alias name with its prefix "alias/", empty for a key.
func (a ARN) Alias() string {
	if strings.HasPrefix(a.Resource, aliasPrefix) {
		return a.Resource
	}
	return ""
}

// ParseARN reads the ARN of a key or an alias. It fails with InvalidArnException unless s has six
// parts of which the service is kms, the account has 12 digits, the Region is well-formed and in
// the partition, and the resource begins with key/ or alias/. The key id or alias name after that
// is not examined: ParseKeyID does that.
func ParseARN(s string) (ARN, error) {
	parts, ok := arnParts(s)
	if !ok {
		return ARN{}, invalidARN(s)
	}
	a := ARN{Partition: parts[1], Region: parts[3], Account: parts[4], Resource: parts[5]}
	if parts[0] != "arn" || parts[2] != "kms" || a.Partition != PartitionOf(a.Region) ||
		!isRegion(a.Region) || !isAccount(a.Account) || (a.KeyID() == "" && a.Alias() == "") {
		return ARN{}, invalidARN(s)
	}
	return a, nil
}

// arnParts splits at the first five colons.
func arnParts(s string) (parts [6]string, ok bool) {
	for i := range parts[:5] {
		if parts[i], s, ok = strings.Cut(s, ":"); !ok {
			return parts, false
		}
	}
	parts[5] = s
	return parts, true
}

func invalidARN(s string) *Error {
	return Errorf(InvalidArnException, "Invalid arn %s", s)
}

// KeyRef is a key as a request names it: by a key id, key ARN, alias name or alias ARN.
type KeyRef struct {
	// KeyID is the key id, empty if the key is named by an alias.
	KeyID string
	// Alias is the alias name with its prefix "alias/", empty if the key is named by its id.
	Alias string
	// ARN is the ARN that the request gave; its zero value if it gave an id or a name, which mean
	// the caller's own account and Region.
	ARN ARN
}

// ParseKeyID reads any of the four forms. It fails with NotFoundException "Invalid keyId '...'"
// for a text that is none of them, and with InvalidArnException for a text that begins with "arn:"
// and is no ARN of a key or an alias. Key ids are a UUID or mrk- and 32 hex digits, in lower case:
// as at AWS they are compared as they are, so an upper-case id names no key.
func ParseKeyID(s string) (KeyRef, error) {
	id, alias := s, s
	var arn ARN
	if strings.HasPrefix(s, "arn:") {
		var err error
		if arn, err = ParseARN(s); err != nil {
			return KeyRef{}, err
		}
		id, alias = arn.KeyID(), arn.Alias()
	}
	if _, _, ok := KeyIDBytes(id); ok {
		return KeyRef{KeyID: id, ARN: arn}, nil
	}
	if isAliasName(alias) {
		return KeyRef{Alias: alias, ARN: arn}, nil
	}
	if id != "" {
		s = id
	}
	return KeyRef{}, Errorf(NotFoundException, "Invalid keyId '%s'", s)
}

// isAliasName says whether s is "alias/" and at least one character that AliasNameType allows.
func isAliasName(s string) bool {
	return len(s) > len(aliasPrefix) && strings.HasPrefix(s, aliasPrefix) && ruleAliasNameType.accepts(s)
}

// isRegion accepts lower-case letters, digits and hyphens, up to the 32 of RegionType. It is wider
// than the model's pattern, so that a private deployment may choose its own Region names.
func isRegion(s string) bool {
	return s != "" && len(s) <= 32 && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && !isDigit(c) && c != '-'
	})
}

func isAccount(s string) bool {
	return len(s) == 12 && !strings.ContainsFunc(s, func(c rune) bool { return !isDigit(c) })
}

// Owner gives the account whose key or alias the reference means to a caller in a Region and account.
// An ARN of another Region fails with NotFoundException; one of another account does not.
func (r *KeyRef) Owner(region, account string) (string, error) {
	switch r.ARN.Region {
	case "":
		return account, nil
	case region:
		return r.ARN.Account, nil
	}
	return "", Errorf(NotFoundException, "Invalid arn %s", r.ARN.Region)
}

// Resolve gives the full ARN that the reference means, where Owner names an account.
func (r *KeyRef) Resolve(region, account string) (ARN, error) {
	owner, err := r.Owner(region, account)
	switch {
	case err != nil:
		return ARN{}, err
	case r.Alias != "":
		return AliasARN(region, owner, r.Alias), nil
	}
	return KeyARN(region, owner, r.KeyID), nil
}

// NoAlias is the check of operations that take only a key id or key ARN: for an alias it fails
// with NotFoundException.
func (r KeyRef) NoAlias() error {
	switch {
	case r.Alias == "":
		return nil
	case r.ARN != ARN{}:
		return Errorf(NotFoundException, "Invalid keyId %s", r.ARN)
	}
	return Errorf(NotFoundException, "Invalid keyId %s", r.Alias)
}

// NoSuchKey is the error for a well-formed identifier of a key that does not exist.
func NoSuchKey(key ARN) *Error {
	return Errorf(NotFoundException, "Key '%s' does not exist", key)
}

// NoSuchAlias is the error for an alias that does not exist.
func NoSuchAlias(alias ARN) *Error {
	return Errorf(NotFoundException, "Alias %s is not found.", alias)
}
