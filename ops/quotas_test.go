package ops

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kms11/kms11/keystore"
	"github.com/kms11/kms11/kms"
	"github.com/kms11/kms11/testkit"
)

const (
	tooFast = "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."
	// alice asks in the tests of this file, and bob.
	alice, bob = "alice", "bob"
)

// limited gives the harness a service with quotas.
func (h *harness) limited(q Quotas) {
	h.service = New(Config{Store: h.store, Domain: h.domain, Account: account, Region: testRegion, Serves: servesRegion,
		Now: h.clock.Now, Quotas: q})
}

// wantLetThrough sends a request until it is throttled and wants that to be after n times.
func (h *harness) wantLetThrough(call func() *Call, op string, request any, n int) {
	h.t.Helper()
	for i := range n + 1 {
		_, err := h.invokeAs(call(), op, request)
		if throttled := kms.AsError(err) != nil && err != nil && kms.AsError(err).Code == kms.ThrottlingException; throttled != (i == n) {
			h.t.Errorf("request %d of %s: %v", i+1, op, err)
			return
		} else if throttled {
			wantError(h.t, err, kms.ThrottlingException, tooFast)
		}
	}
}

// TestRates: a second's worth at once, then at the rate; each account, Region and family by itself; a
// refusal counts for nothing.
func TestRates(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(nil)
	h.limited(Quotas{Account: map[string]float64{"symmetric": 4, "DescribeKey": 2, "ListKeys": 0.25}})
	root := func() *Call { return h.call(account) }
	random := in{"NumberOfBytes": 8}

	h.wantLetThrough(root, "GenerateRandom", random, 4)
	_, err := h.invoke("Encrypt", in{"KeyId": key.KeyId, "Plaintext": []byte("x")}) // of the same family
	wantError(t, err, kms.ThrottlingException, tooFast)
	h.wantLetThrough(root, "DescribeKey", in{"KeyId": key.KeyId}, 2)
	h.wantLetThrough(func() *Call { return h.call(stranger) }, "GenerateRandom", random, 4)
	h.wantLetThrough(func() *Call { c := h.call(account); c.Region = ireland; return c }, "GenerateRandom", random, 4)
	for range 20 {
		h.must("ListAliases", in{}) // no rate
	}

	h.clock.Advance(250 * time.Millisecond)
	h.wantLetThrough(root, "GenerateRandom", random, 1)
	h.clock.Advance(time.Hour) // no more than a second's worth is saved up
	h.wantLetThrough(root, "GenerateRandom", random, 4)

	h.wantLetThrough(root, "ListKeys", in{}, 1)
	h.clock.Advance(3 * time.Second)
	h.wantLetThrough(root, "ListKeys", in{}, 0)
	h.clock.Advance(time.Second)
	h.wantLetThrough(root, "ListKeys", in{}, 1)
}

// TestRatesAcrossAccounts: the caller's account is charged, not the key's.
func TestRatesAcrossAccounts(t *testing.T) {
	h := newHarness(t)
	key := h.createKey(in{"Policy": statement(everybody)})
	h.limited(Quotas{Account: map[string]float64{"DescribeKey": 1}})
	h.wantLetThrough(func() *Call { return h.call(stranger) }, "DescribeKey", in{"KeyId": key.Arn}, 1)
	h.wantLetThrough(func() *Call { return h.call(account) }, "DescribeKey", in{"KeyId": key.Arn}, 1)
}

// TestRatesOfPrincipals: each principal has its own, the account's holds for all of them together, and
// what one of the two refuses is not charged to the other.
func TestRatesOfPrincipals(t *testing.T) {
	h := newHarness(t)
	h.limited(Quotas{Account: map[string]float64{"symmetric": 5}, Principal: map[string]float64{"symmetric": 3}})
	user := func(name string) func() *Call {
		return func() *Call { return h.userCall(account, name, administratorPolicy) }
	}
	random := in{"NumberOfBytes": 8}
	h.wantLetThrough(user(alice), "GenerateRandom", random, 3)
	h.wantLetThrough(user(bob), "GenerateRandom", random, 2) // the account's are used up
	h.clock.Advance(time.Second / 5)
	h.wantLetThrough(user(bob), "GenerateRandom", random, 1) // bob's third was not taken
}

// TestNothingHappensToAThrottledRequest: no token call, no key, whatever it asks for.
func TestNothingHappensToAThrottledRequest(t *testing.T) {
	h := newHarness(t)
	h.limited(Quotas{Account: map[string]float64{"CreateKey": 1}})
	h.createKey(nil)
	before := len(h.must("ListKeys", in{}).(*kms.ListKeysResponse).Keys)
	witness := newWitness(t, h.domain)
	objects := len(witness.objects())
	_, err := h.invoke("CreateKey", in{})
	wantError(t, err, kms.ThrottlingException, tooFast)
	if n := len(witness.objects()); n != objects {
		t.Errorf("the token has %d objects, before there were %d", n, objects)
	}
	if n := len(h.must("ListKeys", in{}).(*kms.ListKeysResponse).Keys); n != before {
		t.Errorf("there are %d keys, before there were %d", n, before)
	}
	// A request that is not well-formed is not counted.
	h.limited(Quotas{Account: map[string]float64{"GenerateRandom": 1, "symmetric": 1}})
	_, err = h.invoke("GenerateRandom", in{"NumberOfBytes": 2000})
	if kms.AsError(err).Code != kms.ValidationException {
		t.Errorf("got %v", err)
	}
	h.must("GenerateRandom", in{"NumberOfBytes": 8})
}

// TestRatesOfReplicas: ReplicateKey counts as two of CreateKey in the replica's Region.
func TestRatesOfReplicas(t *testing.T) {
	h := newHarness(t)
	key := h.multiKey(nil)
	h.limited(Quotas{Account: map[string]float64{"CreateKey": 3, "ReplicateKey": 100}})
	h.must("ReplicateKey", in{"KeyId": key.KeyId, "ReplicaRegion": ireland})
	there := func() *Call { c := h.call(account); c.Region = ireland; return c }
	h.wantLetThrough(there, "CreateKey", in{}, 1)
	_, err := h.invoke("ReplicateKey", in{"KeyId": key.KeyId, "ReplicaRegion": ireland})
	wantError(t, err, kms.ThrottlingException, tooFast)
	h.must("ReplicateKey", in{"KeyId": key.KeyId, "ReplicaRegion": oregon})
}

// TestRateTable holds the table to the guide's numbers that matter most and to the operations.
func TestRateTable(t *testing.T) {
	h := newHarness(t)
	h.limited(Quotas{AWSRates: true, Account: map[string]float64{"ListKeys": 7}})
	for _, c := range []struct {
		family, region string
		want           float64
	}{
		{"symmetric", "us-east-1", 100_000}, {"symmetric", "eu-central-1", 20_000}, {"symmetric", "eu-north-1", 10_000},
		{"rsa", "us-east-1", 1_000}, {"GenerateDataKeyPair/RSA_4096", "us-east-1", 1}, {"GetParametersForImport", "us-east-1", 0.25},
		{"DescribeKey", "us-east-1", 2_000}, {"CreateGrant", "us-east-1", 50}, {"CustomKeyStore", "us-east-1", 1_800}, {"ListKeys", "us-east-1", 7},
	} {
		if got := h.service.limits.rates.rate(bucketKey{account, c.region, c.family}); got != c.want {
			t.Errorf("%s in %s: %v a second, want %v", c.family, c.region, got, c.want)
		}
	}
	for _, operation := range kms.Operations() {
		if family := familyOf(operation.Name, operation.NewRequest()); rateFamilies[family].rate <= 0 && !strings.HasPrefix(operation.Name, "GenerateDataKeyPair") {
			t.Errorf("%s is of the family %q, which has no rate", operation.Name, family)
		}
	}
	var specs []string
	for spec, family := range pairFamilies {
		specs = append(specs, string(spec))
		if rateFamilies[family].rate <= 0 {
			t.Errorf("%s is of the family %q, which has no rate", spec, family)
		}
	}
	_, err := h.invoke("GenerateDataKeyPair", in{"KeyId": "k", "KeyPairSpec": "none"})
	slices.Sort(specs)
	for _, spec := range specs {
		if !strings.Contains(kms.AsError(err).Message, spec) {
			t.Errorf("%s is no spec of the API: %v", spec, err)
		}
	}
	if listed := strings.Count(kms.AsError(err).Message, ",") + 1; listed != len(specs) {
		t.Errorf("the API has %d specs of data key pairs, the table %d", listed, len(specs))
	}
	for _, c := range []struct {
		op      string
		request any
		want    string
	}{
		{"Encrypt", &kms.EncryptRequest{}, "symmetric"},
		{"Decrypt", &kms.DecryptRequest{EncryptionAlgorithm: "RSAES_OAEP_SHA_1"}, "rsa"},
		{"Encrypt", &kms.EncryptRequest{EncryptionAlgorithm: "SM2PKE"}, "ecc"},
		{"ReEncrypt", &kms.ReEncryptRequest{SourceEncryptionAlgorithm: "RSAES_OAEP_SHA_256"}, "rsa"},
		{"ReEncrypt", &kms.ReEncryptRequest{DestinationEncryptionAlgorithm: "RSAES_OAEP_SHA_256"}, "rsa"},
		{"Sign", &kms.SignRequest{SigningAlgorithm: "RSASSA_PSS_SHA_256"}, "rsa"},
		{"Sign", &kms.SignRequest{SigningAlgorithm: "ECDSA_SHA_256"}, "ecc"},
		{"Verify", &kms.VerifyRequest{SigningAlgorithm: "ED25519_PH_SHA_512"}, "ecc"},
		{"Verify", &kms.VerifyRequest{SigningAlgorithm: "SM2DSA"}, "ecc"},
		{"Verify", &kms.VerifyRequest{SigningAlgorithm: "ML_DSA_SHAKE_256"}, "ml-dsa"},
		{"DeriveSharedSecret", &kms.DeriveSharedSecretRequest{}, "ecc"},
		{"Encapsulate", &kms.EncapsulateRequest{}, "ml-kem"},
		{"VerifyMac", &kms.VerifyMacRequest{}, "symmetric"},
		{"GenerateDataKeyPairWithoutPlaintext", &kms.GenerateDataKeyPairWithoutPlaintextRequest{KeyPairSpec: "RSA_2048"}, "GenerateDataKeyPair/RSA_2048"},
		{"CreateKey", &kms.CreateKeyRequest{}, "CreateKey"},
	} {
		if got := familyOf(c.op, c.request); got != c.want {
			t.Errorf("%s %+v is of the family %s, want %s", c.op, c.request, got, c.want)
		}
	}
}

// TestKeyStoreRate is what a key store's uses count against.
func TestKeyStoreRate(t *testing.T) {
	h := newHarness(t)
	if err := h.service.admitKeyStore(testRegion, "cks-1"); err != nil {
		t.Error(err)
	}
	h.limited(Quotas{Account: map[string]float64{"CustomKeyStore": 2}})
	for i := range 3 {
		if err := h.service.admitKeyStore(testRegion, "cks-1"); (err != nil) != (i == 2) {
			t.Errorf("use %d: %v", i+1, err)
		}
	}
	if err := h.service.admitKeyStore(testRegion, "cks-2"); err != nil {
		t.Error(err)
	}
}

// TestKeyStoreRateOfRequests sends requests for keys in custom key stores, in a token and behind a proxy,
// and counts what is let through.
func TestKeyStoreRateOfRequests(t *testing.T) {
	h := newStoreHarness(t)
	cloud, external := h.createStore(clusterA, "cloud"), h.createProxyStore("proxy")
	h.connect(cloud)
	h.connect(external)
	h.proxies.add("k")
	inside, behind, mine := h.storeKey(cloud).KeyId, h.externalKey(external, "k").KeyId, h.createKey(nil).KeyId
	blob := h.encrypt(inside)
	const rate = 4
	fresh := func() { // with full buckets
		h.clock.Advance(time.Minute)
	}
	h.service.limits = newLimits(Quotas{Account: map[string]float64{"CustomKeyStore": rate}}, h.service)
	call := func() *Call { return h.call(account) }
	h.wantLetThrough(call, "Encrypt", in{"KeyId": inside, "Plaintext": []byte("x")}, rate)
	h.wantLetThrough(call, "Decrypt", in{"CiphertextBlob": blob, "EncryptionContext": in{"a": "b"}}, 0) // the same store's
	h.wantLetThrough(call, "GenerateRandom", in{"NumberOfBytes": 8, "CustomKeyStoreId": cloud}, 0)
	h.wantLetThrough(call, "GenerateDataKey", in{"KeyId": behind, "NumberOfBytes": 8}, rate) // another's
	for range 2 * rate {
		h.encrypt(mine)                            // none's
		h.must("DescribeKey", in{"KeyId": inside}) // no cryptographic operation
	}
	fresh()
	h.wantLetThrough(call, "Decrypt", in{"CiphertextBlob": blob, "EncryptionContext": in{"a": "b"}}, rate)
	fresh()
	h.wantLetThrough(call, "GenerateRandom", in{"NumberOfBytes": 8, "CustomKeyStoreId": cloud}, rate)
	fresh()
	// Two keys of one store are two uses.
	again := in{"CiphertextBlob": blob, "SourceEncryptionContext": in{"a": "b"}, "DestinationKeyId": inside}
	h.wantLetThrough(call, "ReEncrypt", again, rate/2)
	fresh()
	// Who may not use the key uses nothing up.
	for range 2 * rate {
		_, err := h.invokeAs(h.call(stranger), "Encrypt", in{"KeyId": "arn:aws:kms:" + testRegion + ":" + account + ":key/" + inside, "Plaintext": []byte("x")})
		if !errors.Is(err, kms.AccessDeniedException) {
			t.Errorf("a stranger's request: %v", err)
		}
	}
	h.wantLetThrough(call, "Encrypt", in{"KeyId": inside, "Plaintext": []byte("x")}, rate)
	_, err := h.invoke("Encrypt", in{"KeyId": inside, "Plaintext": []byte("x")})
	wantError(t, err, kms.ThrottlingException, "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.")
}

// TestLimiterIsBounded: however many principals ask, memory is bounded, and nobody's bucket that
// matters is forgotten while there are others.
func TestLimiterIsBounded(t *testing.T) {
	clock := testkit.NewClock(time.Unix(1_800_000_000, 0))
	l := newLimiter(clock.Now, func(bucketKey) float64 { return 1 })
	count := func() (n int) {
		for i := range l.shards {
			n += len(l.shards[i].buckets)
		}
		return n
	}
	const most = limiterShards * bucketsPerShard
	for i := range 2 * most {
		l.take(bucketKey{fmt.Sprint(i), testRegion, "f"}, 1)
	}
	if n := count(); n > most || n < most/2 {
		t.Errorf("there are %d buckets, want at most %d", n, most)
	}
	clock.Advance(time.Hour)
	busy := bucketKey{"busy", testRegion, "f"}
	if !l.take(busy, 1) || l.take(busy, 1) {
		t.Fatal("the bucket does not hold one")
	}
	for i := range most { // all others are full again and go first
		l.take(bucketKey{fmt.Sprint("n", i), testRegion, "g"}, 0)
	}
	if l.take(busy, 1) {
		t.Error("a bucket that is in use was forgotten for those that are not")
	}
}

// TestLimiterUnderConcurrency: together, takers get what the bucket has.
func TestLimiterUnderConcurrency(t *testing.T) {
	clock := testkit.NewClock(time.Unix(1_800_000_000, 0))
	l := newLimiter(clock.Now, func(bucketKey) float64 { return 100 })
	var taken atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				if l.take(bucketKey{"a", testRegion, "f"}, 1) {
					taken.Add(1)
				}
			}
		})
	}
	all.Wait()
	if taken.Load() != 100 {
		t.Errorf("%d were let through, want 100", taken.Load())
	}
}

// TestAdmitDoesNotAllocate: what runs for every request.
func TestAdmitDoesNotAllocate(t *testing.T) {
	h := newHarness(t)
	for name, q := range map[string]Quotas{"off": {}, "on": {AWSRates: true, Principal: map[string]float64{"symmetric": 1e9}}} {
		h.limited(q)
		call := h.userCall(account, alice)
		call.Operation = "Encrypt"
		request := &kms.EncryptRequest{}
		if n := testing.AllocsPerRun(100, func() { _ = h.service.admit(call, request) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkAdmit(b *testing.B) {
	h := newHarness(b)
	h.limited(Quotas{AWSRates: true, Account: map[string]float64{"symmetric": 1e9}})
	call := h.call(account)
	call.Operation = "Encrypt"
	request := &kms.EncryptRequest{}
	for b.Loop() {
		if err := h.service.admit(call, request); err != nil {
			b.Fatal(err)
		}
	}
}

// TestKeyQuota: the number of keys holds for CreateKey and ReplicateKey, in each Region by itself,
// and a deleted key makes room.
func TestKeyQuota(t *testing.T) {
	h := newHarness(t)
	h.limited(Quotas{Keys: 2})
	const full = "Key quota for this account in this region is 2 but the current usage is 2."
	first, multi := h.createKey(nil), h.createKey(in{"MultiRegion": true})
	objects := len(newWitness(t, h.domain).objects())
	_, err := h.invoke("CreateKey", in{})
	wantError(t, err, kms.LimitExceededException, full)
	_, err = h.invoke("CreateKey", in{"Origin": "EXTERNAL"})
	wantError(t, err, kms.LimitExceededException, full)
	if n := len(newWitness(t, h.domain).objects()); n != objects {
		t.Errorf("the refused requests left %d objects in the token", n-objects)
	}
	if _, err := h.invokeAs(h.call(stranger), "CreateKey", in{}); err != nil {
		t.Errorf("another account: %v", err)
	}
	eu := h.at(ireland)
	eu.get("CreateKey", in{})
	h.must("ReplicateKey", in{"KeyId": multi.KeyId, "ReplicaRegion": ireland})
	_, err = eu.try("CreateKey", in{})
	wantError(t, err, kms.LimitExceededException, full)
	h.at(oregon).get("CreateKey", in{})
	h.at(oregon).get("CreateKey", in{})
	_, err = h.invoke("ReplicateKey", in{"KeyId": multi.KeyId, "ReplicaRegion": oregon})
	wantError(t, err, kms.LimitExceededException, full)

	h.must("ScheduleKeyDeletion", in{"KeyId": first.KeyId, "PendingWindowInDays": 7})
	_, err = h.invoke("CreateKey", in{})
	wantError(t, err, kms.LimitExceededException, full)
	now := h.clock.Advance(8 * 24 * time.Hour)
	if _, err := h.service.RunDue(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	h.createKey(nil)
	_, err = h.invoke("CreateKey", in{})
	wantError(t, err, kms.LimitExceededException, full)
}

// TestKeyQuotaUnderConcurrency: two that ask for the last key do not both get one.
func TestKeyQuotaUnderConcurrency(t *testing.T) {
	h := newHarness(t)
	h.limited(Quotas{Keys: 5})
	var made, refused atomic.Int64
	var all sync.WaitGroup
	for range 12 {
		all.Go(func() {
			operation, _ := h.service.Operation("CreateKey")
			switch _, err := operation.Invoke(t.Context(), h.service, h.call(account), []byte("{}")); {
			case err == nil:
				made.Add(1)
			case kms.AsError(err).Code == kms.LimitExceededException:
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if made.Load() != 5 || refused.Load() != 7 {
		t.Errorf("%d keys were made, %d requests refused", made.Load(), refused.Load())
	}
}

// TestOtherQuotas: those of aliases and grants by setting, and the ones that cannot be set: the
// fixed ones of AWS's table (AWS KMS Developer Guide, "Resource quotas").
func TestOtherQuotas(t *testing.T) {
	h := newHarness(t)
	h.limited(Quotas{Aliases: 1, Grants: 1})
	key := h.createKey(nil)
	h.must("CreateAlias", in{"AliasName": "alias/1", "TargetKeyId": key.KeyId})
	_, err := h.invoke("CreateAlias", in{"AliasName": "alias/2", "TargetKeyId": key.KeyId})
	wantError(t, err, kms.LimitExceededException, "Aliases per key quota for this account in this region is 1, current usage is 1.")
	grant := in{"KeyId": key.KeyId, "GranteePrincipal": "arn:aws:iam::444455556666:root", "Operations": []string{"Decrypt"}}
	token := h.must("CreateGrant", grant).(*kms.CreateGrantResponse).GrantToken
	_, err = h.invoke("CreateGrant", grant)
	wantError(t, err, kms.LimitExceededException, "Grants per key quota for this account in this region is 1, current usage is 1.")

	decrypt := func(tokens int) error {
		_, err := h.invoke("DescribeKey", in{"KeyId": key.KeyId, "GrantTokens": slices.Repeat([]string{token}, tokens)})
		return err
	}
	if err := decrypt(10); err != nil {
		t.Error(err)
	}
	if err := decrypt(11); kms.AsError(err).Code != kms.ValidationException || !strings.Contains(kms.AsError(err).Message, "'grantTokens' failed to satisfy constraint: Member must have length less than or equal to 10") {
		t.Errorf("11 grant tokens: %v", err)
	}

	tags := make([]kms.Tag, 50)
	for i := range tags {
		tags[i] = kms.Tag{TagKey: fmt.Sprint(i), TagValue: "v"}
	}
	h.must("TagResource", in{"KeyId": key.KeyId, "Tags": tags})
	_, err = h.invoke("TagResource", in{"KeyId": key.KeyId, "Tags": tag("one more=")})
	wantError(t, err, kms.TagException, "Too many tags")

	policy := statement(everybody)
	h.must("PutKeyPolicy", in{"KeyId": key.KeyId, "Policy": policy + strings.Repeat(" ", 32_768-len(policy))})
	_, err = h.invoke("PutKeyPolicy", in{"KeyId": key.KeyId, "Policy": policy + strings.Repeat(" ", 32_769-len(policy))})
	wantError(t, err, kms.LimitExceededException, "The key policy is larger than 32768 bytes.")

	h.editRecord(key.KeyId, func(r *keystore.KeyRecord) { r.Rotation = &keystore.Rotation{OnDemand: 25} })
	_, err = h.invoke("RotateKeyOnDemand", in{"KeyId": key.KeyId})
	wantError(t, err, kms.LimitExceededException, "The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be performed for this key: "+key.Arn)
}
