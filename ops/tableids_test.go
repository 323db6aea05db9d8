package ops

import (
	"slices"
	"strings"
	"testing"

	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// testDryRuns is about what dry runs have besides; that each fails as the real request does, and
// succeeds where it does, refused and allowed look at in every other table.
func testDryRuns(t *testing.T, k *keyring) {
	var seen []string
	for _, u := range k.uses() {
		if !slices.Contains(dryRuns(), u.op) {
			continue
		}
		seen = append(seen, u.op)
		k.allowed(u.op, u.request)
		if _, err := k.invoke(u.op, u.but("DryRun", false)); err != nil {
			t.Errorf("%s with DryRun false: %v", u.op, err)
		}
	}
	slices.Sort(seen)
	want := dryRuns()
	if !hsmtest.Has(hsmtest.MLKEM) { // no request for these succeeds
		want = slices.DeleteFunc(want, func(op string) bool { return op == "Encapsulate" || op == "Decapsulate" })
	}
	if seen = slices.Compact(seen); !slices.Equal(seen, want) {
		t.Errorf("dry runs of %v only", seen)
	}
	// The service's own table says the same of these operations, and of the grants'.
	others := []string{"CreateGrant", "RetireGrant", "RevokeGrant"}
	for _, operation := range kms.Operations() {
		want := slices.Contains(dryRuns(), operation.Name) || slices.Contains(others, operation.Name)
		if operation.DryRun != want {
			t.Errorf("%s takes DryRun: %t", operation.Name, operation.DryRun)
		}
	}

	// IGNORE_CIPHERTEXT asks about the permission without a ciphertext.
	key, other := k.symmetric(), k.createKey(nil)
	ignore := []string{"IGNORE_CIPHERTEXT"}
	success := fault{kms.DryRunOperationException, "The request would have succeeded, but the DryRun option is set."}
	for _, c := range []struct {
		op      string
		request in
		source  string
	}{
		{"Decrypt", in{}, "KeyId"},
		{"ReEncrypt", in{"DestinationKeyId": other.KeyId}, "SourceKeyId"},
	} {
		blind := func(members in) in {
			r := in{"DryRunModifiers": ignore}
			for _, m := range []in{c.request, members} {
				for name, value := range m {
					r[name] = value
				}
			}
			return r
		}
		check := func(request in, want fault) {
			t.Helper()
			_, err := k.invoke(c.op, request)
			wantError(t, err, want.code, want.text)
		}
		check(blind(in{c.source: key.KeyId, "DryRun": true}), success)
		check(blind(in{c.source: key.KeyId, "DryRun": true, "CiphertextBlob": []byte("garbage")}), success)
		check(blind(in{c.source: key.KeyId}), validation("DryRunModifiers can only be specified when DryRun is true."))
		check(blind(in{"DryRun": true}), validation("A key ID is required when the IGNORE_CIPHERTEXT modifier is specified."))
		check(blind(in{c.source: ghostKey, "DryRun": true}), noKey(testRegion, account, ghostKey))
		check(blind(in{c.source: k.key("HMAC_256", generateVerify).KeyId, "DryRun": true}), wrongKey())
		if c.op == "ReEncrypt" { // what does not hang on the plaintext is refused all the same
			rsa := k.key("RSA_2048", encryptDecrypt)
			check(blind(in{c.source: key.KeyId, "DryRun": true, "DestinationKeyId": rsa.KeyId, "DestinationEncryptionAlgorithm": "RSAES_OAEP_SHA_1",
				"DestinationEncryptionContext": in{"a": "b"}}), validation("EncryptionContext is not supported when encrypting/decrypting with asymmetric CMKs."))
		}
		k.with(key.KeyId, func(r *keystore.KeyRecord) { r.State = kms.KeyStateDisabled }, func() {
			check(blind(in{c.source: key.KeyId, "DryRun": true}), *footnote("1", key.Arn, "Disabled"))
		})
	}
}

// noKey is the fault of a well-formed identifier of a key that does not exist.
func noKey(region, account, id string) fault {
	return fault{kms.NotFoundException, "Key 'arn:aws:kms:" + region + ":" + account + ":key/" + id + "' does not exist"}
}

// notSeen is the fault of a key that belongs to another account and is not open to the caller,
// whether it exists or not.
func notSeen(caller, action string) fault {
	return fault{kms.AccessDeniedException, "User: " + caller + " is not authorized to perform: kms:" + action +
		" on this resource because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"}
}

// twoForms are the uses that take no alias.
func twoForms() []string { return []string{"EnableKey", "DisableKey", "UpdateKeyDescription"} }

// testKeyIDs names the key of every use in every way.
func testKeyIDs(t *testing.T, k *keyring) {
	uses := k.uses()
	named := map[string]string{} // the alias of each key
	for _, u := range uses {
		if named[u.key.KeyId] == "" {
			named[u.key.KeyId] = "alias/of/" + string(u.key.KeySpec) + "_" + string(u.key.KeyUsage)
			k.must("CreateAlias", in{"AliasName": named[u.key.KeyId], "TargetKeyId": u.key.KeyId})
		}
	}
	arn := func(region, account, resource string) string {
		return "arn:aws:kms:" + region + ":" + account + ":" + resource
	}
	notFound := func(text string) *fault { return &fault{kms.NotFoundException, text} }
	invalid := func(text string) *fault { return &fault{kms.InvalidArnException, "Invalid arn " + text} }
	ghost := noKey(testRegion, account, ghostKey)
	ghostMRK := "mrk-" + strings.Repeat("a", 32)
	ghostMulti := noKey(testRegion, account, ghostMRK)
	long := violation("'" + strings.Repeat("k", 2049) + "' at '%' failed to satisfy constraint: Member must have length less than or equal to 2048")
	for _, u := range uses {
		alias := named[u.key.KeyId]
		aliasName, aliasARN := (*fault)(nil), (*fault)(nil)
		unknownAlias := notFound("Alias " + arn(testRegion, account, "alias/none") + " is not found.")
		if slices.Contains(twoForms(), u.op) {
			aliasName, aliasARN = notFound("Invalid keyId "+alias), notFound("Invalid keyId "+arn(testRegion, account, alias))
			unknownAlias = notFound("Invalid keyId alias/none")
		}
		foreign := notSeen("arn:aws:iam::"+account+":root", u.name)
		tooLong := long
		tooLong.text = strings.ReplaceAll(tooLong.text, "%", strings.ToLower(u.member[:1])+u.member[1:])
		for _, c := range []struct {
			name  string
			keyID string
			want  *fault
		}{
			{"id", u.key.KeyId, nil},
			{"ARN", u.key.Arn, nil},
			{"alias", alias, aliasName},
			{"alias ARN", arn(testRegion, account, alias), aliasARN},
			{"unknown id", ghostKey, &ghost},
			{"unknown ARN", arn(testRegion, account, "key/"+ghostKey), &ghost},
			{"unknown multi-Region id", ghostMRK, &ghostMulti},
			{"unknown alias", "alias/none", unknownAlias},
			{"id in upper case", strings.ToUpper("abcdef12") + ghostKey[8:], notFound("Invalid keyId 'ABCDEF12" + ghostKey[8:] + "'")},
			{"no id", "fake-key-id", notFound("Invalid keyId 'fake-key-id'")},
			{"id without dashes", "134f2428cec14b25a1ae9048164dba47", notFound("Invalid keyId '134f2428cec14b25a1ae9048164dba47'")},
			{"no multi-Region id", "mrk-fake-key-id", notFound("Invalid keyId 'mrk-fake-key-id'")},
			{"key/ id", "key/" + u.key.KeyId, notFound("Invalid keyId 'key/" + u.key.KeyId + "'")},
			{"nameless alias", "alias/", notFound("Invalid keyId 'alias/'")},
			{"other Region", arn("us-west-2", account, "key/"+u.key.KeyId), notFound("Invalid arn us-west-2")},
			{"alias of another Region", arn("eu-west-1", account, alias), notFound("Invalid arn eu-west-1")},
			{"ARN of another service", "arn:aws:iam::" + account + ":role/x", invalid("arn:aws:iam::" + account + ":role/x")},
			{"ARN of another partition", strings.Replace(u.key.Arn, "arn:aws:", "arn:aws-cn:", 1), invalid(strings.Replace(u.key.Arn, "arn:aws:", "arn:aws-cn:", 1))},
			{"ARN of no account", arn(testRegion, "1", "key/"+u.key.KeyId), invalid(arn(testRegion, "1", "key/"+u.key.KeyId))},
			{"ARN of no key", arn(testRegion, account, "grant/x"), invalid(arn(testRegion, account, "grant/x"))},
			{"short ARN", "arn:aws:kms", invalid("arn:aws:kms")},
			{"unknown foreign key", arn(testRegion, stranger, "key/"+ghostKey), &foreign},
			{"too long", strings.Repeat("k", 2049), &tooLong},
		} {
			if c.name == "alias of another Region" && aliasName != nil {
				c.want = notFound("Invalid keyId " + c.keyID)
			}
			t.Run(u.name+" "+c.name, func(t *testing.T) {
				k := k.on(t)
				request := u.but(u.member, c.keyID)
				if c.want != nil {
					k.refused(u.op, request, *c.want)
					return
				}
				k.with(u.key.KeyId, asItIs, func() {
					if out := k.allowed(u.op, request); out != nil {
						k.wantKeyARN(u, out)
					}
				})
			})
		}
		// Only the source of a ciphertext need not be named.
		if u.member != "SourceKeyId" && u.op != "Decrypt" {
			k.refused(u.op, u.without(u.member), violation("null at '"+strings.ToLower(u.member[:1])+u.member[1:]+
				"' failed to satisfy constraint: Member must not be null"))
		}
	}
	for _, name := range named {
		k.must("DeleteAlias", in{"AliasName": name})
	}
}

// wantKeyARN wants an answer to name the key by its ARN, however the request named it.
func (k *keyring) wantKeyARN(u use, out any) {
	k.t.Helper()
	answer := members(k.t, out)
	member := map[string]string{"SourceKeyId": "SourceKeyId"}[u.member]
	if member == "" {
		member = "KeyId"
	}
	if u.op == "DescribeKey" {
		metadata := answer["KeyMetadata"].(map[string]any)
		if metadata["KeyId"] != u.key.KeyId || metadata["Arn"] != u.key.Arn {
			k.t.Errorf("DescribeKey shows %v", metadata["Arn"])
		}
		return
	}
	if answer[member] != u.key.Arn {
		k.t.Errorf("%s: %s is %v", u.name, member, answer[member])
	}
}
