package ops

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kms11/kms11/kms"
)

// testCreateKey looks at what CreateKey told of each kind of key.
func testCreateKey(t *testing.T, k *keyring) {
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	for _, row := range kindRows() {
		m := k.keys[row.kind]
		what := row.spec + " " + row.usage
		wantMembers(t, what, m, wantMetadata(row, m, k.clock.Now()))
		if !uuid.MatchString(m.KeyId) {
			t.Errorf("%s: key id %s", what, m.KeyId)
		}
		if row.spec == symmetricDefault && !materialID.MatchString(m.CurrentKeyMaterialId) {
			t.Errorf("%s: key material id %s", what, m.CurrentKeyMaterialId)
		}
		if !reflect.DeepEqual(k.describe(m.KeyId), m) {
			t.Errorf("%s: DescribeKey tells something else than CreateKey", what)
		}
	}
	symmetric := kindRows()[0]
	for _, request := range []in{
		{}, {"KeySpec": symmetricDefault}, {"KeyUsage": encryptDecrypt}, {"CustomerMasterKeySpec": symmetricDefault},
		{"CustomerMasterKeySpec": symmetricDefault, "KeyUsage": encryptDecrypt},
	} {
		m := k.createKey(request)
		wantMembers(t, "symmetric", m, wantMetadata(symmetric, m, k.clock.Now()))
	}
	// The old name of the member, for the keys that cost little. Some of the RSA keys were made so.
	for _, row := range kindRows() {
		if row.lacking == "" && !strings.HasPrefix(row.spec, "RSA_") && slices.Contains(oldSpecs(), row.spec) {
			m := k.createKey(in{"CustomerMasterKeySpec": row.spec, "KeyUsage": row.usage})
			wantMembers(t, row.spec+" by its old name", m, wantMetadata(row, m, k.clock.Now()))
		}
	}
}

// oldSpecs are the values of CustomerMasterKeySpec.
func oldSpecs() []string {
	return []string{"RSA_2048", "RSA_3072", "RSA_4096", "ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521", "ECC_SECG_P256K1",
		symmetricDefault, "HMAC_224", "HMAC_256", "HMAC_384", "HMAC_512", "SM2"}
}

// testCreateKeyRefused takes every key spec, under both names, with every usage that it cannot have.
func testCreateKeyRefused(t *testing.T, k *keyring) {
	listed := func() int { return len(k.must("ListKeys", in{"Limit": 1000}).(*kms.ListKeysResponse).Keys) }
	before := listed()
	rows := map[kind]kindRow{}
	var specs []string
	for _, row := range kindRows() {
		rows[row.kind] = row
		if !slices.Contains(specs, row.spec) {
			specs = append(specs, row.spec)
		}
	}
	for _, member := range []string{"KeySpec", "CustomerMasterKeySpec"} {
		for _, spec := range specs {
			if member == "CustomerMasterKeySpec" && !slices.Contains(oldSpecs(), spec) {
				_, err := k.invoke("CreateKey", in{member: spec, "KeyUsage": signVerify})
				wantEnum(t, err, spec, "customerMasterKeySpec", oldSpecs())
				continue
			}
			if spec != symmetricDefault {
				k.refused("CreateKey", in{member: spec}, validation("You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys."))
			}
			for _, usage := range usages() {
				row, ok := rows[kind{spec, usage}]
				request := in{member: spec, "KeyUsage": usage}
				switch {
				case !ok:
					k.refused("CreateKey", request, validation("KeyUsage "+usage+" is not compatible with KeySpec "+spec))
				case row.lacking != "":
					_, err := k.invoke("CreateKey", request)
					got := kms.AsError(err)
					if got.Code != kms.UnsupportedOperationException || !strings.HasPrefix(got.Message, "KeySpec "+spec+" is not supported: ") ||
						!strings.Contains(got.Message, row.lacking) {
						t.Errorf("%s %s: %v", spec, usage, err)
					}
				}
			}
			k.refused("CreateKey", in{"KeySpec": spec, "CustomerMasterKeySpec": symmetricDefault, "KeyUsage": signVerify},
				validation("You cannot specify KeySpec and CustomerMasterKeySpec in the same request. CustomerMasterKeySpec is deprecated."))
		}
	}
	for _, usage := range usages()[1:] {
		k.refused("CreateKey", in{"KeyUsage": usage}, validation("KeyUsage "+usage+" is not compatible with KeySpec SYMMETRIC_DEFAULT"))
	}
	_, err := k.invoke("CreateKey", in{"KeySpec": "AES_256"})
	wantEnum(t, err, "AES_256", "keySpec", specs)
	_, err = k.invoke("CreateKey", in{"KeyUsage": "encrypt_decrypt"})
	wantEnum(t, err, "encrypt_decrypt", "keyUsage", usages())
	if after := listed(); after != before {
		t.Errorf("refused requests made %d keys", after-before)
	}
}

// wantEnum wants the fault of a value that an enum does not have. AWS lists the values in no
// particular order.
func wantEnum(t testing.TB, err error, value, member string, values []string) {
	t.Helper()
	got := kms.AsError(err)
	head := "1 validation error detected: Value '" + value + "' at '" + member + "' failed to satisfy constraint: Member must satisfy enum value set: ["
	list, ok := strings.CutPrefix(got.Message, head)
	list, closed := strings.CutSuffix(list, "]")
	listed := strings.Split(list, ", ")
	if got.Code != kms.ValidationException || !ok || !closed ||
		!slices.Equal(slices.Sorted(slices.Values(listed)), slices.Sorted(slices.Values(values))) {
		t.Errorf("%s %s: %v", member, value, err)
	}
}
