package ops

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"regexp"
	"strings"
	"time"

	"github.com/kms11/kms11/keystore"
)

// The kinds of unique ids (IAM User Guide, "Understanding unique ID prefixes").
const (
	userIDPrefix      = "AIDA"
	roleIDPrefix      = "AROA"
	longKeyPrefix     = "AKIA"
	temporaryIDPrefix = "ASIA"
)

// newUniqueID makes the unique id of a user or a role: a prefix and 17 characters of base 32.
func newUniqueID(prefix string) string {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails: crypto/rand ends the program instead
	return uniqueID(prefix, random[:])
}

// derivedUniqueID is the unique id of a principal that has none stored: the same for the same name
// and time.
func derivedUniqueID(prefix, arn string, created time.Time) string {
	sum := sha256.Sum256([]byte(arn + "\x00" + created.UTC().Format(time.RFC3339Nano)))
	return uniqueID(prefix, sum[:])
}

func uniqueID(prefix string, bits []byte) string {
	return prefix + base32.StdEncoding.EncodeToString(bits)[:17]
}

// idOf is a user's unique id. A record of the first content version has none.
func idOf(user *keystore.UserRecord) string {
	if user.ID != "" {
		return user.ID
	}
	return derivedUniqueID(userIDPrefix, user.ARN, user.Created)
}

// newAccessKey makes an access key of AWS's form: a prefix and 16 characters of base 32, and a
// secret of 30 random bytes as 40 characters of base 64.
func newAccessKey(prefix string) AccessKey {
	var id [10]byte
	var secret [30]byte
	_, _ = rand.Read(id[:]) // never fails: crypto/rand ends the program instead
	_, _ = rand.Read(secret[:])
	return AccessKey{
		ID:     prefix + base32.StdEncoding.EncodeToString(id[:]),
		Secret: base64.StdEncoding.EncodeToString(secret[:]),
	}
}

// Forms of names (IAM API reference). Nothing writes to them.
var (
	accountForm     = regexp.MustCompile(`^[0-9]{12}$`)
	entityNameForm  = regexp.MustCompile(`^[\w+=,.@-]{1,64}$`)
	policyNameForm  = regexp.MustCompile(`^[\w+=,.@-]{1,128}$`)
	entityPathForm  = regexp.MustCompile(`^/(?:[!-.0-~]+/)*$`)
	accessKeyIDForm = regexp.MustCompile(`^\w{16,128}$`)
)

// maxEntityPath is the longest path of a user or a role (IAM API reference, pathType).
const maxEntityPath = 512

// entityARN is the ARN of a user or a role; path begins and ends with a slash.
func entityARN(partition, account, kind, path, name string) string {
	return "arn:" + partition + ":iam::" + account + ":" + kind + path + name
}

// principalName is an ARN of a principal taken apart.
type principalName struct {
	partition, account string
	kind               string // root, user, role, assumed-role or federated-user
	name               string // without the path; of an assumed role the role's
	session            string // of an assumed role
}

// parsePrincipal takes the ARN of a principal apart. Whether the path in it is the right one is
// for the record to say.
func parsePrincipal(arn string) (p principalName, ok bool) {
	parts := principalARN.FindStringSubmatch(arn)
	if parts == nil {
		return p, false
	}
	p.partition, p.account = parts[1], parts[2]+parts[4]
	var rest string
	p.kind, rest, _ = strings.Cut(parts[3]+parts[5], "/")
	p.name = rest[strings.LastIndexByte(rest, '/')+1:]
	if p.kind == "assumed-role" {
		p.name, p.session, _ = strings.Cut(rest, "/")
	}
	return p, true
}
