package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/kms11/kms11/ops"
)

// An iamCommand is one row of the table of `kms11 iam` commands.
type iamCommand struct {
	name, usage string
	flags       []string // of iamFlags; one with "!" behind it has to be there
	// request makes the request for the running server out of the flags.
	request func(c *cli.Context) (any, error)
	// show prints the answer for people; nil prints nothing. With --json every answer is printed.
	show func(to io.Writer, answer json.RawMessage) error
}

// iamFlags are the flags of all commands, by name. Every command has --account, --json and those of
// the configuration.
func iamFlags() map[string]cli.Flag {
	return map[string]cli.Flag{
		"user":         &cli.StringFlag{Name: "user", Usage: "the user's `NAME`"},
		"role":         &cli.StringFlag{Name: "role", Usage: "the role's `NAME`"},
		"path":         &cli.StringFlag{Name: "path", Usage: "the `PATH` in the ARN, such as /team/ (default: /)"},
		"description":  &cli.StringFlag{Name: "description", Usage: "what the role is for"},
		"trust":        &cli.StringFlag{Name: "trust", Usage: "the trust policy: a `FILE` of JSON, - for standard input"},
		"max-session":  &cli.IntFlag{Name: "max-session-duration", Usage: "how many `SECONDS` a session may last, 3600 to 43200"},
		"name":         &cli.StringFlag{Name: "name", Usage: "the policy's `NAME`"},
		"policy":       &cli.StringFlag{Name: "policy", Usage: "the policy: a `FILE` of JSON, - for standard input"},
		"tag":          &cli.StringSliceFlag{Name: "tag", Usage: "a tag, `KEY=VALUE`; may be repeated"},
		"key":          &cli.StringSliceFlag{Name: "key", Usage: "the `KEY` of a tag; may be repeated"},
		"force":        &cli.BoolFlag{Name: "force", Usage: "delete the user's access keys too"},
		"id":           &cli.StringFlag{Name: "id", Usage: "the access key's `ID`"},
		"delete-old":   &cli.BoolFlag{Name: "delete-old", Usage: "delete the old access key instead of disabling it"},
		"new-id":       &cli.StringFlag{Name: "id", Usage: "the `ID` of the access key that the secret is of (default: a new one)"},
		"secret-stdin": &cli.BoolFlag{Name: "secret-stdin", Usage: "read the secret from standard input (default: a new one is made and shown)"},
	}
}

// iamCommands is the table of them.
func iamCommands() []iamCommand {
	return []iamCommand{
		{name: "create-user", usage: "make a user, and its account if nothing is in it yet", flags: []string{"user!", "path", "tag"}, request: newUser, show: showARN},
		{name: "delete-user", usage: "delete a user and its policies", flags: []string{"user!", "force"}, request: oldUser},
		{name: "create-role", usage: "make a role", flags: []string{"role!", "path", "description", "trust!", "max-session", "tag"}, request: newRole, show: showARN},
		{name: "delete-role", usage: "delete a role and its policies; its sessions end", flags: []string{"role!"}, request: roleName},
		{name: "put-trust", usage: "replace a role's trust policy", flags: []string{"role!", "trust!", "max-session"}, request: newTrust},
		{name: "revoke-sessions", usage: "end all sessions of a role that have begun", flags: []string{"role!"}, request: roleName},
		{name: "put-policy", usage: "give a user or a role an identity policy", flags: []string{"user", "role", "name!", "policy!"}, request: newPolicy},
		{name: "delete-policy", usage: "take an identity policy from a user or a role", flags: []string{"user", "role", "name!"}, request: oldPolicy},
		{name: "put-boundary", usage: "give a user or a role a permissions boundary", flags: []string{"user", "role", "policy!"}, request: newBoundary},
		{name: "delete-boundary", usage: "take the permissions boundary from a user or a role", flags: []string{"user", "role"}, request: anyPrincipal},
		{name: "tag", usage: "give a user or a role tags", flags: []string{"user", "role", "tag!"}, request: newTags},
		{name: "untag", usage: "take tags from a user or a role", flags: []string{"user", "role", "key!"}, request: oldTags},
		{name: "create-access-key", usage: "make an access key for a user and show its secret, this once", flags: []string{"user!"}, request: newKey, show: showKey},
		{name: "rotate-access-key", usage: "make an access key in place of another, which is disabled, and show its secret, this once", flags: []string{"id!", "delete-old"}, request: rotatedKey, show: showKey},
		{name: "enable-access-key", usage: "let a disabled access key be used again", flags: []string{"id!"}, request: keyName},
		{name: "disable-access-key", usage: "have an access key refused", flags: []string{"id!"}, request: keyName},
		{name: "delete-access-key", usage: "delete an access key", flags: []string{"id!"}, request: keyName},
		{name: "list", usage: "list users, roles and access keys, of all accounts or of one", request: func(c *cli.Context) (any, error) {
			return ops.ListIdentitiesRequest{Account: c.String("account")}, nil
		}, show: showList},
		{name: "seal", usage: "seal a secret access key for a file of the identities directory", flags: []string{"new-id", "secret-stdin"}, request: secretToSeal, show: showSealed},
	}
}

func iamSubcommand(row iamCommand) *cli.Command {
	flags := append(settingFlags(), &cli.StringFlag{Name: "account", Usage: "the account's `ID`, 12 digits (default: the keystore's)"},
		&cli.BoolFlag{Name: "json", Usage: "print JSON"})
	var needed []string
	for _, name := range row.flags {
		name, must := strings.CutSuffix(name, "!")
		flag := iamFlags()[name]
		flags = append(flags, flag)
		if must {
			needed = append(needed, flag.Names()[0])
		}
	}
	return &cli.Command{
		Name:  row.name,
		Usage: row.usage,
		Flags: flags,
		Action: func(c *cli.Context) error {
			for _, flag := range needed {
				if !c.IsSet(flag) {
					return usageError{fmt.Errorf("%s needs --%s: see kms11 iam %s --help", row.name, flag, row.name)}
				}
			}
			request, err := row.request(c)
			if err != nil {
				return usageError{err}
			}
			var answer json.RawMessage
			if err := postAdmin(c, "/iam/"+row.name, request, &answer); err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(c.App.Writer, answer)
			}
			if row.show == nil {
				return nil
			}
			return row.show(c.App.Writer, answer)
		},
	}
}

func iamGroup() *cli.Command {
	group := &cli.Command{
		Name:  "iam",
		Usage: "manage the users, roles and access keys in the keystore of the running server",
		Description: "What is done counts at once. Asks over the admin socket in the data directory, so it works for the server's own user only. " +
			"Principals that the identities directory describes are listed and changed there.",
	}
	for _, row := range iamCommands() {
		group.Subcommands = append(group.Subcommands, iamSubcommand(row))
	}
	return group
}

func newUser(c *cli.Context) (any, error) {
	tags, err := pairs(c, "tag")
	return ops.CreateUserRequest{Account: c.String("account"), Name: c.String("user"), Path: c.String("path"), Tags: tags}, err
}

func oldUser(c *cli.Context) (any, error) {
	return ops.DeleteUserRequest{Account: c.String("account"), Name: c.String("user"), Force: c.Bool("force")}, nil
}

func newRole(c *cli.Context) (any, error) {
	tags, err := pairs(c, "tag")
	if err != nil {
		return nil, err
	}
	trust, err := readDocument(c.String("trust"))
	return ops.CreateRoleRequest{
		Account: c.String("account"), Name: c.String("role"), Path: c.String("path"), Description: c.String("description"),
		Trust: trust, MaxSessionSeconds: c.Int("max-session-duration"), Tags: tags,
	}, err
}

func roleName(c *cli.Context) (any, error) {
	return ops.RoleRequest{Account: c.String("account"), Name: c.String("role")}, nil
}

func newTrust(c *cli.Context) (any, error) {
	trust, err := readDocument(c.String("trust"))
	return ops.PutTrustRequest{Account: c.String("account"), Name: c.String("role"), Trust: trust, MaxSessionSeconds: c.Int("max-session-duration")}, err
}

// principal is the user or role that the flags name.
func principal(c *cli.Context) ops.Principal {
	return ops.Principal{Account: c.String("account"), User: c.String("user"), Role: c.String("role")}
}

func anyPrincipal(c *cli.Context) (any, error) { return principal(c), nil }

func newPolicy(c *cli.Context) (any, error) {
	document, err := readDocument(c.String("policy"))
	return ops.PutPolicyRequest{Principal: principal(c), Name: c.String("name"), Policy: document}, err
}

func oldPolicy(c *cli.Context) (any, error) {
	return ops.PolicyRequest{Principal: principal(c), Name: c.String("name")}, nil
}

func newBoundary(c *cli.Context) (any, error) {
	document, err := readDocument(c.String("policy"))
	return ops.PutBoundaryRequest{Principal: principal(c), Policy: document}, err
}

func newTags(c *cli.Context) (any, error) {
	tags, err := pairs(c, "tag")
	return ops.TagRequest{Principal: principal(c), Tags: tags}, err
}

func oldTags(c *cli.Context) (any, error) {
	return ops.UntagRequest{Principal: principal(c), Keys: c.StringSlice("key")}, nil
}

func newKey(c *cli.Context) (any, error) {
	return ops.CreateAccessKeyRequest{Account: c.String("account"), User: c.String("user")}, nil
}

func rotatedKey(c *cli.Context) (any, error) {
	return ops.RotateAccessKeyRequest{ID: c.String("id"), DeleteOld: c.Bool("delete-old")}, nil
}

func keyName(c *cli.Context) (any, error) { return ops.AccessKeyRequest{ID: c.String("id")}, nil }

// secretToSeal takes the secret from standard input and nowhere else: arguments show in lists of
// processes.
func secretToSeal(c *cli.Context) (any, error) {
	request := ops.SealAccessKeyRequest{ID: c.String("id")}
	if !c.Bool("secret-stdin") {
		return request, nil
	}
	text, err := io.ReadAll(io.LimitReader(os.Stdin, 4096))
	request.Secret = strings.TrimSpace(string(text))
	if err == nil && request.Secret == "" {
		err = errors.New("there is no secret on standard input")
	}
	return request, err
}

// pairs reads flags of the form key=value.
func pairs(c *cli.Context, flag string) (map[string]string, error) {
	list := c.StringSlice(flag)
	if len(list) == 0 {
		return nil, nil
	}
	made := make(map[string]string, len(list))
	for _, pair := range list {
		key, value, found := strings.Cut(pair, "=")
		if _, twice := made[key]; !found || twice {
			return nil, fmt.Errorf("--%s %q is not key=value, or is there twice", flag, pair)
		}
		made[key] = value
	}
	return made, nil
}

// maxDocument is far above the size of any policy that is accepted.
const maxDocument = 1 << 20

// readDocument reads a policy from a file.
func readDocument(file string) (json.RawMessage, error) {
	from := io.Reader(os.Stdin)
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		from = f
	}
	text, err := io.ReadAll(io.LimitReader(from, maxDocument))
	if err != nil {
		return nil, err
	}
	if !json.Valid(text) {
		return nil, fmt.Errorf("%s does not hold one JSON value", file)
	}
	return text, nil
}

func showARN(to io.Writer, answer json.RawMessage) error {
	var made ops.PrincipalInfo
	if err := json.Unmarshal(answer, &made); err != nil {
		return err
	}
	_, err := fmt.Fprintln(to, made.ARN)
	return err
}

// showKey shows a new access key as a shell takes it. A session token that the shell has from elsewhere
// would be sent with the key, and refused.
func showKey(to io.Writer, answer json.RawMessage) error {
	var key ops.AccessKey
	if err := json.Unmarshal(answer, &key); err != nil {
		return err
	}
	_, err := fmt.Fprintf(to, "export AWS_SESSION_TOKEN=\nexport AWS_ACCESS_KEY_ID=%s\nexport AWS_SECRET_ACCESS_KEY=%s\n", key.ID, key.Secret)
	return err
}

// showSealed shows a sealed access key as a file of the identities directory has it.
func showSealed(to io.Writer, answer json.RawMessage) error {
	var key struct {
		ID     string `json:"accessKeyId"`
		Secret string `json:"secretAccessKey"`
		Sealed string `json:"sealed"`
	}
	if err := json.Unmarshal(answer, &key); err != nil {
		return err
	}
	if key.Secret != "" {
		if _, err := fmt.Fprintf(to, "# the secret, not shown again: %s\n", key.Secret); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(to, "- id: %s\n  sealed: %s\n", key.ID, key.Sealed)
	return err
}

func showList(to io.Writer, answer json.RawMessage) error {
	var list ops.IdentityList
	if err := json.Unmarshal(answer, &list); err != nil {
		return err
	}
	rows := [][]string{{"ARN", "ID", "POLICIES", "ACCESS KEYS", "FROM"}}
	for _, info := range append(list.Users, list.Roles...) {
		var keys, policies []string
		for _, key := range info.AccessKeys {
			text := key.ID
			if key.Disabled {
				text += " (disabled)"
			}
			keys = append(keys, text)
		}
		for name := range info.Policies {
			policies = append(policies, name)
		}
		sort.Strings(policies)
		from := "keystore"
		if info.File != "" {
			from = info.File
		}
		rows = append(rows, []string{info.ARN, info.ID, strings.Join(policies, ","), strings.Join(keys, ", "), from})
	}
	return table(to, rows)
}
