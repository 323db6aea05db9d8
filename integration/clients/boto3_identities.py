"""boto3 with identities: three accounts, roles, sessions and web identities. The test that runs it has made
the users and roles; their access keys come from the environment as JSON."""

import json
import os

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from boto3_client import refused, step

once = Config(retries={"total_max_attempts": 1})


def session(key):
    return boto3.Session(
        aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"],
        aws_session_token=key.get("SessionToken"), region_name=os.environ["AWS_REGION"])


def client(key, service):
    return session(key).client(service, config=once)


def sts_refused(code, message, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        found = error.response["Error"]
        assert (found["Code"], found["Message"]) == (code, message), found
        return
    raise AssertionError(f"{code} was expected, the call succeeded")


keys = json.loads(os.environ["TEST_KEYS"])
alice, bob, carol = (keys[name] for name in ("alice", "bob", "carol"))
role = "arn:aws:iam::111122223333:role/app"

for key, arn in ((alice, "arn:aws:iam::111122223333:user/alice"), (bob, "arn:aws:iam::444455556666:user/bob"), (carol, "arn:aws:iam::777788889999:user/carol")):
    who = client(key, "sts").get_caller_identity()
    assert who["Arn"] == arn and who["Account"] == arn.split(":")[4] and who["UserId"].startswith("AIDA"), who
step("get_caller_identity for users of three accounts")

shared = client(alice, "kms").create_key(Policy=json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:root"}, "Action": "kms:*", "Resource": "*"},
    {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::444455556666:root"}, "Action": "kms:Encrypt", "Resource": "*"},
]}))["KeyMetadata"]["Arn"]
blob = client(bob, "kms").encrypt(KeyId=shared, Plaintext=b"across accounts")["CiphertextBlob"]
assert client(alice, "kms").decrypt(CiphertextBlob=blob)["Plaintext"] == b"across accounts"
refused("AccessDeniedException", "User: arn:aws:iam::777788889999:user/carol is not authorized to perform: kms:Encrypt on this resource "
        "because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access",
        client(carol, "kms").encrypt, KeyId=shared, Plaintext=b"x")
step("a key used from another account")

sts_refused("AccessDenied", f"User: arn:aws:iam::777788889999:user/carol is not authorized to perform: sts:AssumeRole on resource: {role}",
            client(carol, "sts").assume_role, RoleArn=role, RoleSessionName="s1", ExternalId="a-ticket")
sts_refused("AccessDenied", f"User: arn:aws:iam::444455556666:user/bob is not authorized to perform: sts:AssumeRole on resource: {role}",
            client(bob, "sts").assume_role, RoleArn=role, RoleSessionName="s1")
assumed = client(bob, "sts").assume_role(RoleArn=role, RoleSessionName="s1", ExternalId="a-ticket", DurationSeconds=900,
                                         Tags=[{"Key": "project", "Value": "x"}], TransitiveTagKeys=["project"])
assert assumed["AssumedRoleUser"]["Arn"] == "arn:aws:sts::111122223333:assumed-role/app/s1", assumed["AssumedRoleUser"]
made = client(assumed["Credentials"], "kms")
assert made.decrypt(CiphertextBlob=blob)["Plaintext"] == b"across accounts"
broken = dict(assumed["Credentials"], SessionToken=assumed["Credentials"]["SessionToken"][:-8] + "AAAAAAAA")
refused("UnrecognizedClientException", "The security token included in the request is invalid.", client(broken, "kms").list_keys)
sts_refused("InvalidClientTokenId", "The security token included in the request is invalid.", client(broken, "sts").get_caller_identity)
sts_refused("ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            client(bob, "sts").assume_role, RoleArn=role, RoleSessionName="s1", ExternalId="a-ticket", DurationSeconds=7200)
step("assume_role with an external id and tags")

for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
    os.environ.pop(name, None)
# AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE are set, as in a pod: boto3 takes the role on by itself.
pod = boto3.Session(region_name=os.environ["AWS_REGION"])
who = pod.client("sts", config=once).get_caller_identity()["Arn"]
assert who.startswith("arn:aws:sts::111122223333:assumed-role/pod/"), who
assert pod.client("kms", config=once).decrypt(CiphertextBlob=blob)["Plaintext"] == b"across accounts"
step("AWS_ROLE_ARN with AWS_WEB_IDENTITY_TOKEN_FILE")

step("that was all")
