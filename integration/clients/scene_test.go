package clients_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/kms11/kms11/integration/kms11test"
)

// The accounts of these tests.
const (
	own    = kms11test.Account
	second = "444455556666"
	third  = "777788889999"
)

// scene is a server with users and roles, and one of AWS's clients, which knows them by their profiles.
type scene struct {
	t      *testing.T
	server *kms11test.Server
	client client
	config string // the file of profiles
}

// inEachClient plays a scene with boto3 and with the AWS CLI, each on a server of its own, with settings
// of kms11 if there are any. The profile admin is the administrator.
func inEachClient(t *testing.T, settings string, play func(s *scene)) {
	for name, start := range map[string]func(t *testing.T, env []string) client{
		"boto3": func(t *testing.T, env []string) client { return boto3{newLoop(t, "boto3_loop.py", env)} },
		"CLI":   func(t *testing.T, env []string) client { return commands{cli{newLoop(t, "cli_loop.py", env)}} },
	} {
		t.Run(name, func(t *testing.T) {
			var args []string
			if settings != "" {
				args = []string{"--config", kms11test.Write(t, t.TempDir(), "kms11.yaml", settings)}
			}
			s := &scene{t: t, server: kms11test.Start(t, args...)}
			env := []string{"AWS_MAX_ATTEMPTS=1"} // so that an error is seen as it was sent
			for _, variable := range s.server.Env(t) {
				name, value, _ := strings.Cut(variable, "=")
				switch name {
				case "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN": // the profiles have them
					continue
				case "AWS_CONFIG_FILE":
					s.config = value
				}
				env = append(env, variable)
			}
			s.add("[plugins]\nservice_headers = service_headers\n")
			admin := s.server.Admin(t).Key
			s.profile("admin", accessKey(admin.AccessKeyID, admin.SecretAccessKey, ""))
			s.client = start(t, env)
			play(s)
		})
	}
}

func (s *scene) add(lines string) {
	s.t.Helper()
	file, err := os.OpenFile(s.config, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = file.WriteString(lines)
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// profile adds a profile, which has to be there before a client uses it for the first time.
func (s *scene) profile(name, lines string) {
	s.t.Helper()
	s.add("[profile " + name + "]\n" + literalURLs + lines)
}

func accessKey(id, secret, token string) string {
	lines := "aws_access_key_id = " + id + "\naws_secret_access_key = " + secret + "\n"
	if token != "" {
		lines += "aws_session_token = " + token + "\n"
	}
	return lines
}

// user makes a user with a policy, if it is not empty, tags such as team=red, and a profile of its name.
// It gives the ARN.
func (s *scene) user(account, name, policy string, tags ...string) string {
	s.t.Helper()
	key := s.server.User(s.t, account, name, policy)
	for _, tag := range tags {
		s.server.MustIAM(s.t, "", "tag", "--account", account, "--user", name, "--tag", tag)
	}
	s.profile(name, accessKey(key.AccessKeyID, key.SecretAccessKey, ""))
	return "arn:aws:iam::" + account + ":user/" + name
}

// role makes a role that principals may take on, with a policy, and gives the ARN.
func (s *scene) role(account, name, trust, policy string) string {
	s.t.Helper()
	s.server.Role(s.t, account, name, trust, policy)
	return "arn:aws:iam::" + account + ":role/" + name
}

// session takes on a role, with more parameters than its ARN, and gives a profile with what comes of it,
// and the session's ARN. The profile is the name of the session.
func (s *scene) session(by, role, name string, more parameters) string {
	s.t.Helper()
	a := assume(by, role, name)
	for parameter, value := range more {
		a = a.with(parameter, value)
	}
	got := s.allowed(a)
	given := func(member string) string { return text(s.t, got, "Credentials", member) }
	s.profile(name, accessKey(given("AccessKeyId"), given("SecretAccessKey"), given("SessionToken")))
	return text(s.t, got, "AssumedRoleUser", "Arn")
}

func assume(by, role, name string) ask {
	return ask{by, "sts:AssumeRole", parameters{"RoleArn": role, "RoleSessionName": name}}
}

// key makes a key of the administrator's account with a policy, or the default one, and tags.
func (s *scene) key(policy string, tags ...map[string]string) (arn string) {
	s.t.Helper()
	a := ask{"admin", "CreateKey", parameters{}}
	if policy != "" {
		a = a.with("Policy", policy)
	}
	if len(tags) > 0 {
		a = a.with("Tags", tags)
	}
	return text(s.t, s.allowed(a), "KeyMetadata", "Arn")
}

// blob is a ciphertext of the administrator's under a key.
func (s *scene) blob(key string, context map[string]string) []byte {
	s.t.Helper()
	a := encrypt("admin", key)
	if context != nil {
		a = a.with("EncryptionContext", context)
	}
	return decode(s.t, text(s.t, s.allowed(a), "CiphertextBlob"))
}

func encrypt(by, key string) ask {
	return ask{by, "Encrypt", parameters{"KeyId": key, "Plaintext": []byte("\x00 some bytes \xff")}}
}

// put gives a user or a role another policy in place of the one it was made with.
func (s *scene) put(account, kind, name, policy string) {
	s.t.Helper()
	s.server.MustIAM(s.t, policy, "put-policy", "--account", account, "--"+kind, name, "--name", "use", "--policy", "-")
}

// putKeyPolicy changes a key's policy.
func (s *scene) putKeyPolicy(key, policy string) {
	s.t.Helper()
	s.allowed(ask{"admin", "PutKeyPolicy", parameters{"KeyId": key, "Policy": policy}})
}

// tag is a tag as KMS has it.
func tag(key, value string) map[string]string {
	return map[string]string{"TagKey": key, "TagValue": value}
}

// policy is a policy of statements, without their braces.
func policy(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[{` + strings.Join(statements, "},{") + `}]}`
}

// allow is a statement of an identity policy. More elements, such as a Condition, may follow.
func allow(actions, resource string, more ...string) string {
	return statement("Allow", actions, append([]string{`"Resource":"` + resource + `"`}, more...))
}

func deny(actions, resource string, more ...string) string {
	return statement("Deny", actions, append([]string{`"Resource":"` + resource + `"`}, more...))
}

// trust is a trust policy for a principal.
func trust(actions, principal string, more ...string) string {
	return policy(statement("Allow", actions, append([]string{principal}, more...)))
}

func statement(effect, actions string, elements []string) string {
	text := fmt.Sprintf(`"Effect":%q,"Action":["%s"]`, effect, strings.Join(strings.Fields(actions), `","`))
	return strings.Join(append([]string{text}, elements...), ",")
}

// to is the element Principal for principals of AWS.
func to(principals ...string) string {
	return `"Principal":{"AWS":["` + strings.Join(principals, `","`) + `"]}`
}

// when is the element Condition with an operator, a key and a value, as often as they are given.
func when(operatorsKeysValues ...string) string {
	var conditions []string
	for i := 0; i < len(operatorsKeysValues); i += 3 {
		c := operatorsKeysValues[i:]
		conditions = append(conditions, fmt.Sprintf(`%q:{%q:%q}`, c[0], c[1], c[2]))
	}
	return `"Condition":{` + strings.Join(conditions, ",") + `}`
}

// delegated lets the account of the key decide about these actions by its identity policies.
func delegated(actions string) string {
	return allow(actions, "*", to("arn:aws:iam::"+own+":root"))
}
