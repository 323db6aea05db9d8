package clients_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kms11/kms11/integration/kms11test"
)

const bucket = "arn:aws:s3:::a-bucket"

const serviceSecret = "0123456789012345678901234567890123456789"

// services are the settings of two services: an object store of the first account's, and volumes.
func services(t *testing.T) string {
	secret := kms11test.Write(t, t.TempDir(), "secret", serviceSecret+"\n")
	return "services:\n" +
		"  - {principal: s3.amazonaws.com, accesskey: OBJECTSTOREACCESSKEY, secretfile: " + secret + ", accounts: [\"" + own + "\"]}\n" +
		"  - {principal: ec2.amazonaws.com, alias: ebs, accesskey: VOLUMESERVICEACCESS, secretfile: " + secret + "}\n"
}

// service adds the profile of a service that says these things with each request.
func (s *scene) service(profile, id, more string) {
	s.profile(profile, accessKey(id, serviceSecret, "")+more)
}

// TestServiceConditions: keys that may be used through a service only, or by a service for a resource only.
func TestServiceConditions(t *testing.T) {
	inEachClient(t, services(t), func(s *scene) {
		alice := s.user(own, "alice", policy(allow("kms:*", "*")))
		bob := s.user(own, "bob", "")
		carol := s.user(second, "carol", policy(allow("kms:*", "*")))
		for profile, who := range map[string]string{"alice": alice, "bob": bob, "carol": carol} {
			s.service("s3-"+profile, "OBJECTSTOREACCESSKEY", "on_behalf_of = "+who+"\nsource_arn = "+bucket+"\n")
			s.service("ec2-"+profile, "VOLUMESERVICEACCESS", "on_behalf_of = "+who+"\n")
		}
		dataKey := func(by, key string) ask {
			return ask{by, "GenerateDataKey", parameters{"KeyId": key, "KeySpec": "AES_256"}}
		}

		// In a key policy: whom the service acts for is the caller.
		key := s.key(policy(delegated("kms:PutKeyPolicy"), allow("kms:GenerateDataKey kms:Decrypt", "*", to(alice),
			when("StringEquals", "kms:ViaService", "s3.us-east-1.amazonaws.com"))))
		s.allowed(dataKey("s3-alice", key))
		for _, by := range []string{"alice", "ec2-alice"} {
			s.denied(dataKey(by, key), lacks(alice, "GenerateDataKey", key, "resource-based policy"))
		}
		s.denied(dataKey("s3-bob", key), lacks(bob, "GenerateDataKey", key, "resource-based policy"))

		// With the caller's account, as the policies of AWS managed keys have it: no identity policy is needed.
		key = s.key(policy(delegated("kms:PutKeyPolicy"), allow("kms:GenerateDataKey", "*", `"Principal":{"AWS":"*"}`,
			`"Condition":{"StringEquals":{"kms:ViaService":["s3.us-east-1.amazonaws.com","ec2.us-east-1.amazonaws.com"],"kms:CallerAccount":"`+own+`"}}`)))
		s.allowed(dataKey("s3-bob", key))
		s.denied(dataKey("bob", key), lacks(bob, "GenerateDataKey", key, "resource-based policy"))
		s.denied(dataKey("ec2-carol", key), unseen(carol, "GenerateDataKey"))
		s.denied(dataKey("s3-carol", key), "s3.amazonaws.com may not act for "+carol+".")

		// In identity policies: an allow through a service, a deny of whatever comes from elsewhere.
		key = s.key("")
		s.put(own, "user", "bob", policy(allow("kms:GenerateDataKey", "*", when("StringLike", "kms:ViaService", "s3.*.amazonaws.com"))))
		s.allowed(dataKey("s3-bob", key))
		s.denied(dataKey("ec2-bob", key), lacks(bob, "GenerateDataKey", key, "identity-based policy"))
		s.denied(dataKey("bob", key), lacks(bob, "GenerateDataKey", key, "identity-based policy"))
		s.put(own, "user", "bob", policy(allow("kms:*", "*"), deny("kms:GenerateDataKey", "*", when("Bool", "aws:ViaAWSService", "false"))))
		s.allowed(dataKey("ec2-bob", key))
		s.denied(dataKey("bob", key), forbids(bob, "GenerateDataKey", key, "an identity-based policy"))
		s.put(own, "user", "bob", policy(allow("kms:*", "*", when("ArnLike", "aws:SourceArn", "arn:aws:s3:::a-*"))))
		s.allowed(dataKey("s3-bob", key))
		s.denied(dataKey("ec2-bob", key), lacks(bob, "GenerateDataKey", key, "identity-based policy"))

		// Grants for a service's resources, made through the service.
		s.put(own, "user", "bob", policy(allow("kms:CreateGrant", "*", when("Bool", "kms:GrantIsForAWSResource", "true"))))
		grant := ask{"ec2-bob", "CreateGrant", parameters{"KeyId": key, "GranteePrincipal": bob, "Operations": []string{"Decrypt"}}}
		s.allowed(grant)
		s.denied(grant.as("bob"), lacks(bob, "CreateGrant", key, "identity-based policy"))
	})
}

// TestServicePrincipals: a service that acts for itself, and the key that it manages for an account.
func TestServicePrincipals(t *testing.T) {
	inEachClient(t, services(t), func(s *scene) {
		alice := s.user(own, "alice", policy(allow("kms:*", "*")))
		s.service("s3", "OBJECTSTOREACCESSKEY", "source_arn = "+bucket+"\nsource_account = "+own+"\n")
		s.service("s3-other", "OBJECTSTOREACCESSKEY", "source_arn = "+bucket+"-2\nsource_account = "+own+"\n")
		s.service("s3-alice", "OBJECTSTOREACCESSKEY", "on_behalf_of = "+alice+"\n")
		const service = "s3.amazonaws.com"

		key := s.key(policy(delegated("kms:*"), allow("kms:Encrypt", "*", `"Principal":{"Service":"s3.amazonaws.com"}`,
			when("ArnEquals", "aws:SourceArn", bucket, "StringEquals", "aws:SourceAccount", own))))
		s.allowed(encrypt("s3", key))
		s.denied(encrypt("s3-other", key), unseen(service, "Encrypt"))

		// By a grant for one resource, until the service retires it. Only newer clients know its parameters.
		open := ask{"s3", "Decrypt", parameters{"KeyId": key, "CiphertextBlob": s.blob(key, nil)}}
		s.denied(open, unseen(service, "Decrypt"))
		made, err := s.server.Client(s.t).CreateGrant(s.t.Context(), &kms.CreateGrantInput{KeyId: aws.String(key), GranteeServicePrincipal: aws.String(service),
			RetiringServicePrincipal: aws.String(service), Operations: []types.GrantOperation{types.GrantOperationDecrypt},
			Constraints: &types.GrantConstraints{SourceArn: aws.String(bucket)}})
		if err != nil {
			s.t.Fatal(err)
		}
		s.allowed(open)
		s.denied(open.as("s3-other"), unseen(service, "Decrypt"))
		s.allowed(ask{"s3", "RetireGrant", parameters{"KeyId": key, "GrantId": *made.GrantId}})
		s.denied(open, unseen(service, "Decrypt"))

		// The managed key is for the account's principals through the service.
		managed := encrypt("s3-alice", "alias/aws/s3")
		arn := text(s.t, s.allowed(managed), "KeyId")
		s.denied(managed.as("alice"), lacks(alice, "Encrypt", arn, "resource-based policy"))
		s.denied(managed.as("s3"), unseen(service, "Encrypt"))
		disable := ask{"alice", "DisableKey", parameters{"KeyId": arn}}
		s.denied(disable, lacks(alice, "DisableKey", arn, "resource-based policy"))
		s.allowed(disable.with("KeyId", key))
	})
}
