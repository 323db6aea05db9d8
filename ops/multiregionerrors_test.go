package ops

import (
	"strings"
	"testing"

	"github.com/miekg/pkcs11"

	"github.com/kms11/kms11/hsm/hsmtest"
	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
)

// TestMultiRegionErrors: every refusal that does not come from a state or a policy.
func TestMultiRegionErrors(t *testing.T) {
	h := newHarness(t)
	us, eu := h.at(testRegion), h.at(ireland)
	key := h.multiKey(nil, ireland)
	single := h.createKey(nil)
	us.get("CreateAlias", in{"AliasName": "alias/here", "TargetKeyId": key.KeyId})
	const unknown = "mrk-00000000000000000000000000000000"
	exists := func(region string) string { return "Key '" + h.at(region).arn(key.KeyId) + "' already exists" }
	missing := func(s site, id string) string { return "Key '" + s.arn(id) + "' does not exist" }
	replicate := func(id, region string) in { return in{"KeyId": id, "ReplicaRegion": region} }
	update := func(id, region string) in { return in{"KeyId": id, "PrimaryRegion": region} }
	with := func(request in, member string, value any) in { request[member] = value; return request }
	const form = "failed to satisfy constraint: Member must satisfy regular expression pattern: ^([a-z]+-){2,3}\\d+$"
	const invalid = kms.ValidationException
	for name, c := range map[string]struct {
		from site
		op   string
		in   in
		code kms.ErrorCode
		text string
	}{
		"replica of a single-Region key": {us, "ReplicateKey", replicate(single.KeyId, ireland), kms.UnsupportedOperationException, single.Arn + " is not a multi-region primary key."},
		"replica of a replica":           {eu, "ReplicateKey", replicate(key.KeyId, oregon), kms.UnsupportedOperationException, eu.arn(key.KeyId) + " is not a multi-region primary key."},
		"second replica":                 {us, "ReplicateKey", replicate(key.KeyId, ireland), kms.AlreadyExistsException, exists(ireland)},
		"replica beside the primary key": {us, "ReplicateKey", replicate(key.KeyId, testRegion), kms.AlreadyExistsException, exists(testRegion)},
		"replica in a Region not served": {us, "ReplicateKey", replicate(key.KeyId, unserved), invalid, "ReplicaRegion ap-south-1 is not a Region that this server serves."},
		"replica in another partition":   {us, "ReplicateKey", replicate(key.KeyId, "cn-north-1"), invalid, "ReplicaRegion cn-north-1 is not in the partition aws of the key."},
		"replica of an unknown key":      {us, "ReplicateKey", replicate(unknown, ireland), kms.NotFoundException, missing(us, unknown)},
		"replica by alias":               {us, "ReplicateKey", replicate("alias/here", ireland), kms.NotFoundException, "Invalid keyId alias/here"},
		"replica by another Region":      {eu, "ReplicateKey", replicate(key.Arn, oregon), kms.NotFoundException, "Invalid arn us-east-1"},
		"replica without a Region":       {us, "ReplicateKey", in{"KeyId": key.KeyId}, invalid, "1 validation error detected: Value null at 'replicaRegion' failed to satisfy constraint: Member must not be null"},
		"replica in no Region":           {us, "ReplicateKey", replicate(key.KeyId, "Europe"), invalid, "1 validation error detected: Value 'Europe' at 'replicaRegion' " + form},
		"replica with reserved tag":      {us, "ReplicateKey", with(replicate(key.KeyId, oregon), "Tags", tag("aws:a=b")), kms.TagException, "Tags beginning with aws: are reserved"},
		"replica with a bad policy":      {us, "ReplicateKey", with(replicate(key.KeyId, oregon), "Policy", "{}"), kms.MalformedPolicyDocumentException, "Syntax errors in policy."},
		"replica that locks out": {us, "ReplicateKey", with(replicate(key.KeyId, oregon), "Policy", strings.Replace(statement(everybody), "kms:*", "kms:Encrypt", 1)),
			kms.MalformedPolicyDocumentException, "The new key policy will not allow you to update the key policy in the future."},
		"replica that only the primary's policy would keep open": {us, "ReplicateKey",
			with(replicate(key.KeyId, oregon), "Policy", strings.Replace(statement(everybody), `"Resource":"*"`, `"Resource":"`+key.Arn+`"`, 1)),
			kms.MalformedPolicyDocumentException, "The new key policy will not allow you to update the key policy in the future."},
		"primary of a single-Region key": {us, "UpdatePrimaryRegion", update(single.KeyId, ireland), kms.UnsupportedOperationException, single.Arn + " is not a multi-region primary key."},
		"primary from a replica":         {eu, "UpdatePrimaryRegion", update(key.KeyId, ireland), kms.UnsupportedOperationException, eu.arn(key.KeyId) + " is not a multi-region primary key."},
		"primary that it is already":     {us, "UpdatePrimaryRegion", update(key.KeyId, testRegion), kms.UnsupportedOperationException, key.Arn + " is already the multi-region primary key."},
		"primary where there is none":    {us, "UpdatePrimaryRegion", update(key.KeyId, oregon), kms.NotFoundException, missing(h.at(oregon), key.KeyId)},
		"primary in a Region not served": {us, "UpdatePrimaryRegion", update(key.KeyId, unserved), invalid, "PrimaryRegion ap-south-1 is not a Region that this server serves."},
		"primary in another partition":   {us, "UpdatePrimaryRegion", update(key.KeyId, "cn-north-1"), invalid, "PrimaryRegion cn-north-1 is not in the partition aws of the key."},
		"primary by alias":               {us, "UpdatePrimaryRegion", update("alias/here", ireland), kms.NotFoundException, "Invalid keyId alias/here"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.from.try(c.op, c.in)
			wantError(t, err, c.code, c.text)
		})
	}
	us.get("ReplicateKey", in{"KeyId": key.KeyId, "ReplicaRegion": oregon, "BypassPolicyLockoutSafetyCheck": true,
		"Policy": strings.Replace(statement(everybody), "kms:*", "kms:DescribeKey", 1)})
	h.wantPlaces(key.KeyId, testRegion, ireland, oregon)
}

// TestResidentKeysAreSingleRegion: SoftHSM2 2.6.1 wraps no Ed25519 keys, so they stay where they are.
func TestResidentKeysAreSingleRegion(t *testing.T) {
	hsmtest.Require(t, hsmtest.Resident, hsmtest.ManyTokens)
	h := newHarness(t)
	w := newWitness(t, h.domain)
	const text = "KeySpec ECC_NIST_EDWARDS25519 is not supported for multi-Region keys: the token does not wrap such keys, so they cannot leave it."
	request := in{"KeySpec": "ECC_NIST_EDWARDS25519", "KeyUsage": signVerify, "MultiRegion": true}
	keys := func() int { return len(w.find(pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY))) }
	before := keys()
	_, err := h.invoke("CreateKey", request)
	wantError(t, err, kms.UnsupportedOperationException, text)
	if after := keys(); after != before {
		t.Errorf("%d private keys are left in the token", after-before)
	}
	if keys := h.must("ListKeys", in{}).(*kms.ListKeysResponse).Keys; len(keys) != 0 {
		t.Errorf("a key was made: %v", keys)
	}
	// A record that says so all the same is not replicated.
	request["MultiRegion"] = false
	resident := h.at(testRegion).record(h.createKey(request).KeyId).Clone()
	resident.ID, resident.MultiRegion = "mrk-00000000000000000000000000000000", placesOf(testRegion, testRegion, nil)
	if err := h.store.Update(t.Context(), func(tx *keystore.Tx) error { return tx.CreateKey(resident) }); err != nil {
		t.Fatal(err)
	}
	_, err = h.invoke("ReplicateKey", in{"KeyId": resident.ID, "ReplicaRegion": ireland})
	wantError(t, err, kms.UnsupportedOperationException, text)
}

// TestMultiRegionStates: ReplicateKey looks at the primary key, UpdatePrimaryRegion at both (AWS
// KMS Developer Guide, "Key states of AWS KMS keys").
func TestMultiRegionStates(t *testing.T) {
	h := newHarness(t)
	us, eu, west := h.at(testRegion), h.at(ireland), h.at(oregon)
	key := h.multiKey(nil, ireland)
	rows := map[string]map[kms.KeyState]string{
		"ReplicateKey": {"Enabled": "ok", "Disabled": "1", "PendingDeletion": "3", "PendingReplicaDeletion": "3", "PendingImport": "5",
			"Creating": "14", "Updating": "15"},
		"UpdatePrimaryRegion": {"Enabled": "ok", "Disabled": "1", "PendingDeletion": "3", "PendingReplicaDeletion": "3", "PendingImport": "5",
			"Creating": "14", "Updating": "ok"},
	}
	replicate, update := in{"KeyId": key.KeyId, "ReplicaRegion": oregon}, in{"KeyId": key.KeyId, "PrimaryRegion": ireland}
	for state := range rows["ReplicateKey"] {
		for _, c := range []struct {
			op     string
			looked site
			in     in
		}{{"ReplicateKey", us, replicate}, {"UpdatePrimaryRegion", us, update}, {"UpdatePrimaryRegion", eu, update}} {
			t.Run(c.op+" "+string(state)+" in "+c.looked.region, func(t *testing.T) {
				cell := rows[c.op][state]
				want := footnote(cell, c.looked.arn(key.KeyId), state)
				c.looked.edit(key.KeyId, setState(state, h.clock.Now()))
				_, err := us.try(c.op, c.in)
				switch {
				case cell != "ok":
					wantError(t, err, want.code, want.text)
				case err != nil:
					t.Error(err)
				}
				c.looked.edit(key.KeyId, setState(kms.KeyStateEnabled, h.clock.Now()))
				switch {
				case err != nil:
				case c.op == "UpdatePrimaryRegion":
					eu.get(c.op, in{"KeyId": key.KeyId, "PrimaryRegion": testRegion})
				default:
					west.get("ScheduleKeyDeletion", in{"KeyId": key.KeyId, "PendingWindowInDays": 7})
					h.clock.Advance(7 * day)
					h.runDue(1)
				}
				h.wantPlaces(key.KeyId, testRegion, ireland)
			})
		}
	}
	// What a replica's state is does not matter to another one.
	eu.get("DisableKey", in{"KeyId": key.KeyId})
	us.get("ReplicateKey", replicate)
}

// TestMultiRegionPermissions: both operations need leave on two sides.
func TestMultiRegionPermissions(t *testing.T) {
	h := newHarness(t)
	us, eu := h.at(testRegion), h.at(ireland)
	key := h.multiKey(nil, ireland)
	allow := func(actions string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":[` + actions + `],"Resource":"*"}]}`
	}
	user := "User: arn:aws:iam::" + account + ":user/alice is not authorized to perform: "
	none := func(action, resource string) string {
		return user + action + " on resource: " + resource + " because no identity-based policy allows the " + action + " action"
	}
	try := func(actions, op string, request in) error {
		_, err := us.invokeAs(h.userCall(account, "alice", allow(actions)), op, request)
		return err
	}
	// In this order: each is refused for the first that is missing.
	replicate := in{"KeyId": key.KeyId, "ReplicaRegion": oregon, "Tags": tag("a=b")}
	for _, c := range []struct{ actions, refusal string }{
		{`"kms:CreateKey","kms:TagResource"`, none("kms:ReplicateKey", key.Arn)},
		{`"kms:ReplicateKey","kms:TagResource"`, none("kms:CreateKey", "*")},
		{`"kms:ReplicateKey","kms:CreateKey"`, user + "kms:TagResource because no identity-based policy allows the kms:TagResource action"},
	} {
		wantError(t, try(c.actions, "ReplicateKey", replicate), kms.AccessDeniedException, c.refusal)
	}
	const enough = `"kms:ReplicateKey","kms:CreateKey","kms:TagResource"`
	// Leave comes before the state and the Region.
	us.edit(key.KeyId, setState(kms.KeyStateDisabled, h.clock.Now()))
	wantError(t, try(`"kms:CreateKey"`, "ReplicateKey", in{"KeyId": key.KeyId, "ReplicaRegion": unserved}), kms.AccessDeniedException, none("kms:ReplicateKey", key.Arn))
	us.edit(key.KeyId, setState(kms.KeyStateEnabled, h.clock.Now()))
	if err := try(enough, "ReplicateKey", replicate); err != nil {
		t.Error(err)
	}

	// The replica's policy is asked about UpdatePrimaryRegion as well.
	update := in{"KeyId": key.KeyId, "PrimaryRegion": ireland}
	deny := statement(`"Effect":"Deny","Principal":"*","Action":"kms:UpdatePrimaryRegion","Resource":"*"`)
	denied := func(arn string) string {
		return user + "kms:UpdatePrimaryRegion on resource: " + arn + " with an explicit deny in a resource-based policy"
	}
	const may = `"kms:UpdatePrimaryRegion"`
	wantError(t, try(`"kms:ReplicateKey"`, "UpdatePrimaryRegion", update), kms.AccessDeniedException, none("kms:UpdatePrimaryRegion", key.Arn))
	for _, side := range []site{us, eu} {
		side.edit(key.KeyId, func(r *keystore.KeyRecord) { r.Policy = deny })
		wantError(t, try(may, "UpdatePrimaryRegion", update), kms.AccessDeniedException, denied(side.arn(key.KeyId)))
		side.edit(key.KeyId, func(r *keystore.KeyRecord) { r.Policy = defaultKeyPolicy("aws", account) })
	}
	// It can be allowed for one Region alone, by the key's ARN.
	half := strings.Replace(allow(may), `"*"`, `"`+key.Arn+`"`, 1)
	_, err := us.invokeAs(h.userCall(account, "alice", half), "UpdatePrimaryRegion", update)
	wantError(t, err, kms.AccessDeniedException, none("kms:UpdatePrimaryRegion", eu.arn(key.KeyId)))
	if err := try(may, "UpdatePrimaryRegion", update); err != nil {
		t.Error(err)
	}
	h.wantPlaces(key.KeyId, ireland, testRegion, oregon)

	_, err = us.invokeAs(h.call(stranger), "ReplicateKey", in{"KeyId": key.Arn, "ReplicaRegion": oregon})
	if got := kms.AsError(err); got == nil || got.Code != kms.AccessDeniedException {
		t.Errorf("another account gets %v", err)
	}
}
