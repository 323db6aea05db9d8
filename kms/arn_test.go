package kms

import "testing"

const (
	uuidID = "1234abcd-12ab-34cd-56ef-1234567890ab"
	mrkID  = "mrk-1234abcd12ab34cd56ef1234567890ab"
	prefix = "arn:aws:kms:us-west-2:111122223333:"
)

func TestParseKeyID(t *testing.T) {
	at := func(resource string) ARN { return ARN{"aws", "us-west-2", "111122223333", resource} }
	for s, want := range map[string]KeyRef{
		uuidID:                     {KeyID: uuidID},
		mrkID:                      {KeyID: mrkID},
		prefix + "key/" + uuidID:   {KeyID: uuidID, ARN: at("key/" + uuidID)},
		prefix + "key/" + mrkID:    {KeyID: mrkID, ARN: at("key/" + mrkID)},
		"alias/a":                  {Alias: "alias/a"},
		"alias/aws/s3":             {Alias: "alias/aws/s3"},
		"alias/a:b_c-d":            {Alias: "alias/a:b_c-d"},
		prefix + "alias/a/b":       {Alias: "alias/a/b", ARN: at("alias/a/b")},
		prefix + "alias/" + uuidID: {Alias: "alias/" + uuidID, ARN: at("alias/" + uuidID)},
		"alias/alias/a":            {Alias: "alias/alias/a"},
		prefix + "alias/a:b":       {Alias: "alias/a:b", ARN: at("alias/a:b")},
	} {
		got, err := ParseKeyID(s)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v", s, got, err)
		}
		if got.ARN != (ARN{}) && got.ARN.String() != s {
			t.Errorf("%s became %s", s, got.ARN)
		}
	}
}

func TestInvalidKeyIDs(t *testing.T) {
	for s, shown := range map[string]string{
		"fake-key-id":                           "fake-key-id",
		"":                                      "",
		"134f2428cec14b25a1ae9048164dba47":      "134f2428cec14b25a1ae9048164dba47",
		"mrk-fake-key-id":                       "mrk-fake-key-id",
		"1234ABCD-12AB-34CD-56EF-1234567890AB":  "1234ABCD-12AB-34CD-56EF-1234567890AB",
		"1234abcd-12ab-34cd-56ef-1234567890ag":  "1234abcd-12ab-34cd-56ef-1234567890ag",
		uuidID + "\n":                           uuidID + "\n",
		"mrk-1234ABCD12ab34cd56ef1234567890ab":  "mrk-1234ABCD12ab34cd56ef1234567890ab",
		"alias/":                                "alias/",
		"alias/a b":                             "alias/a b",
		"Alias/a":                               "Alias/a",
		"key/" + uuidID:                         "key/" + uuidID,
		prefix + "key/fake":                     "fake",
		prefix + "key/alias/a":                  "alias/a",
		prefix + "alias/":                       prefix + "alias/",
		prefix + "alias/a b":                    prefix + "alias/a b",
		prefix + "key/" + uuidID + "/" + uuidID: uuidID + "/" + uuidID,
		prefix + "key/" + uuidID + ":key/" + uuidID: uuidID + ":key/" + uuidID,
	} {
		_, err := ParseKeyID(s)
		checkError(t, err, NotFoundException, "Invalid keyId '"+shown+"'")
	}
}

func TestInvalidARNs(t *testing.T) {
	for _, s := range []string{
		"arn:", "arn:aws:kms:us-west-2:111122223333", "arn:aws:s3:us-west-2:111122223333:key/" + uuidID,
		"arn:aws:kms::111122223333:key/" + uuidID, "arn:aws:kms:US-WEST-2:111122223333:key/" + uuidID,
		"arn:aws:kms:us-west-2:11112222333:key/" + uuidID, "arn:aws:kms:us-west-2:11112222333a:key/" + uuidID,
		"arn:aws-cn:kms:us-west-2:111122223333:key/" + uuidID, "arn:aws:kms:cn-north-1:111122223333:key/" + uuidID,
		"arn::kms:us-west-2:111122223333:key/" + uuidID, prefix + uuidID, prefix + "key/", prefix + "grant/x", prefix,
	} {
		_, err := ParseKeyID(s)
		checkError(t, err, InvalidArnException, "Invalid arn "+s)
	}
}

func TestResolve(t *testing.T) {
	for s, want := range map[string]string{
		uuidID:                   "arn:aws:kms:us-west-2:444455556666:key/" + uuidID,
		"alias/a":                "arn:aws:kms:us-west-2:444455556666:alias/a",
		prefix + "key/" + uuidID: prefix + "key/" + uuidID, // of another account
	} {
		ref, err := ParseKeyID(s)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ref.Resolve("us-west-2", "444455556666"); err != nil || got.String() != want {
			t.Errorf("%s: got %s, %v", s, got, err)
		}
	}
	ref, _ := ParseKeyID(prefix + "key/" + uuidID)
	_, err := ref.Resolve("us-east-1", "111122223333")
	checkError(t, err, NotFoundException, "Invalid arn us-west-2")
	checkError(t, NoSuchKey(ref.ARN), NotFoundException, "Key '"+prefix+"key/"+uuidID+"' does not exist")
	checkError(t, NoSuchAlias(AliasARN("us-west-2", "111122223333", "alias/x")), NotFoundException,
		"Alias "+prefix+"alias/x is not found.")
}

func TestNoAlias(t *testing.T) {
	for s, want := range map[string]string{
		"alias/a":          "Invalid keyId alias/a",
		prefix + "alias/a": "Invalid keyId " + prefix + "alias/a",
	} {
		ref, err := ParseKeyID(s)
		if err != nil {
			t.Fatal(err)
		}
		checkError(t, ref.NoAlias(), NotFoundException, want)
	}
	if err := (KeyRef{KeyID: uuidID}).NoAlias(); err != nil {
		t.Error(err)
	}
}

func TestPartitions(t *testing.T) {
	for region, want := range map[string]string{
		"us-east-1": "aws", "eu-central-2": "aws", "local": "aws", "cn-north-1": "aws-cn",
		"us-gov-west-1": "aws-us-gov", "us-iso-east-1": "aws-iso", "us-isob-east-1": "aws-iso-b",
		"eu-isoe-west-1": "aws-iso-e", "us-isof-south-1": "aws-iso-f", "eusc-de-east-1": "aws-eusc",
	} {
		arn := KeyARN(region, "111122223333", uuidID)
		if arn.Partition != want {
			t.Errorf("%s: got %s, want %s", region, arn.Partition, want)
		}
		if parsed, err := ParseARN(arn.String()); err != nil || parsed != arn {
			t.Errorf("%s: %v", arn, err)
		}
	}
}

// FuzzParseKeyID checks that what is accepted is written back as it was: no text has two meanings.
func FuzzParseKeyID(f *testing.F) {
	for _, s := range []string{uuidID, mrkID, "alias/a", prefix + "key/" + uuidID, prefix + "alias/a:b", "arn:::::"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := ParseKeyID(s)
		switch {
		case err != nil:
		case (ref.KeyID == "") == (ref.Alias == ""):
			t.Errorf("%q is both or neither: %+v", s, ref)
		case ref.ARN != ARN{} && ref.ARN.String() != s:
			t.Errorf("%q became %q", s, ref.ARN)
		case ref.ARN == ARN{} && ref.KeyID+ref.Alias != s:
			t.Errorf("%q became %q", s, ref.KeyID+ref.Alias)
		}
	})
}
