"""boto3 with aliases, tags, key policies and deletion."""

import json
from datetime import datetime, timedelta, timezone

from boto3_client import kms, refused, step


def aliases(one, two):
    name = "alias/boto3/app"
    alias_arn = one["Arn"].split(":key/")[0] + ":" + name
    kms.create_alias(AliasName=name, TargetKeyId=one["KeyId"])
    for form in (name, alias_arn):
        assert kms.describe_key(KeyId=form)["KeyMetadata"]["Arn"] == one["Arn"]
        sealed = kms.encrypt(KeyId=form, Plaintext=b"by alias")
        assert sealed["KeyId"] == one["Arn"]
        assert kms.decrypt(KeyId=form, CiphertextBlob=sealed["CiphertextBlob"])["Plaintext"] == b"by alias"
    kms.update_alias(AliasName=name, TargetKeyId=two["Arn"])
    assert kms.describe_key(KeyId=name)["KeyMetadata"]["Arn"] == two["Arn"]
    refused("IncorrectKeyException", None, kms.decrypt, KeyId=name, CiphertextBlob=sealed["CiphertextBlob"])

    refused("AlreadyExistsException", f"An alias with the name {alias_arn} already exists",
            kms.create_alias, AliasName=name, TargetKeyId=one["KeyId"])
    refused("ValidationException", None, kms.create_alias, AliasName="boto3", TargetKeyId=one["KeyId"])
    refused("NotFoundException", f"Invalid keyId {name}", kms.disable_key, KeyId=name)
    kms.create_alias(AliasName="alias/boto3/other", TargetKeyId=one["Arn"])
    pages = kms.get_paginator("list_aliases")
    listed = {a["AliasName"]: a for page in pages.paginate(PaginationConfig={"PageSize": 1}) for a in page["Aliases"]}
    assert set(listed) == {name, "alias/boto3/other"}, listed
    assert listed[name]["TargetKeyId"] == two["KeyId"] and listed[name]["AliasArn"] == alias_arn
    assert listed[name]["LastUpdatedDate"] >= listed[name]["CreationDate"]
    of_one = [a["AliasName"] for page in pages.paginate(KeyId=one["Arn"]) for a in page["Aliases"]]
    assert of_one == ["alias/boto3/other"], of_one
    kms.delete_alias(AliasName=name)
    refused("NotFoundException", f"Alias {alias_arn} is not found.", kms.describe_key, KeyId=name)
    step("create_alias, update_alias, list_aliases, delete_alias, keys by every form of KeyId")


def tags(key):
    def listed():
        pages = kms.get_paginator("list_resource_tags").paginate(KeyId=key["KeyId"], PaginationConfig={"PageSize": 1})
        return {tag["TagKey"]: tag["TagValue"] for page in pages for tag in page["Tags"]}

    assert listed() == {"team": "red"}
    kms.tag_resource(KeyId=key["Arn"], Tags=[{"TagKey": "team", "TagValue": "blue"}, {"TagKey": "étage", "TagValue": ""}])
    assert listed() == {"team": "blue", "étage": ""}, listed()
    kms.untag_resource(KeyId=key["KeyId"], TagKeys=["team", "never there"])
    assert listed() == {"étage": ""}, listed()
    for message, bad in (("Duplicate tag keys", [{"TagKey": "a", "TagValue": ""}] * 2),
                         ("Tags beginning with aws: are reserved", [{"TagKey": "aws:a", "TagValue": ""}])):
        refused("TagException", message, kms.tag_resource, KeyId=key["KeyId"], Tags=bad)
    step("tag_resource, untag_resource, list_resource_tags")


def policies(key):
    arn, request = key["Arn"], {"KeyId": key["KeyId"], "PolicyName": "default"}
    assert kms.list_key_policies(KeyId=arn)["PolicyNames"] == ["default"]
    default = json.loads(kms.get_key_policy(**request)["Policy"])
    assert default["Statement"][0]["Principal"]["AWS"] == f"arn:aws:iam::{key['AWSAccountId']}:root", default
    denied = dict(default, Statement=default["Statement"] + [
        {"Effect": "Deny", "Principal": "*", "Action": "kms:Encrypt", "Resource": "*"}])
    kms.put_key_policy(Policy=json.dumps(denied), **request)
    assert json.loads(kms.get_key_policy(**request)["Policy"]) == denied
    error = refused("AccessDeniedException", None, kms.encrypt, KeyId=arn, Plaintext=b"x")
    assert str(error).endswith(f"kms:Encrypt on resource: {arn} with an explicit deny in a resource-based policy"), error
    kms.put_key_policy(Policy=json.dumps(default), **request)
    kms.encrypt(KeyId=arn, Plaintext=b"x")
    only_decrypt = dict(default, Statement=[dict(default["Statement"][0], Action="kms:Decrypt")])
    refused("MalformedPolicyDocumentException", "The new key policy will not allow you to update the key policy in the future.",
            kms.put_key_policy, Policy=json.dumps(only_decrypt), **request)
    step("get_key_policy, put_key_policy, list_key_policies")


def deletion(key):
    arn = key["Arn"]
    signs = {"KeyId": arn, "Message": b"x", "SigningAlgorithm": "ECDSA_SHA_256"}
    signature = kms.sign(**signs)["Signature"]
    scheduled = kms.schedule_key_deletion(KeyId=arn, PendingWindowInDays=7)
    assert scheduled["KeyId"] == arn and scheduled["KeyState"] == "PendingDeletion" and scheduled["PendingWindowInDays"] == 7
    wait = scheduled["DeletionDate"] - datetime.now(timezone.utc)
    assert timedelta(days=6, hours=23) < wait < timedelta(days=7, hours=1), wait
    assert kms.describe_key(KeyId=arn)["KeyMetadata"]["DeletionDate"] == scheduled["DeletionDate"]
    for call, arguments in ((kms.sign, signs), (kms.verify, dict(signs, Signature=signature)),
                            (kms.enable_key, {"KeyId": arn}), (kms.schedule_key_deletion, {"KeyId": arn})):
        refused("KMSInvalidStateException", f"{arn} is pending deletion.", call, **arguments)
    assert kms.cancel_key_deletion(KeyId=arn)["KeyId"] == arn
    assert kms.describe_key(KeyId=arn)["KeyMetadata"]["KeyState"] == "Disabled"
    refused("DisabledException", f"{arn} is disabled.", kms.sign, **signs)
    kms.enable_key(KeyId=arn)
    assert kms.verify(Signature=signature, **signs)["SignatureValid"] is True
    refused("KMSInvalidStateException", f"{arn} is not pending deletion.", kms.cancel_key_deletion, KeyId=arn)
    refused("ValidationException", None, kms.schedule_key_deletion, KeyId=arn, PendingWindowInDays=31)
    step("schedule_key_deletion, cancel_key_deletion")


def main():
    one = kms.create_key(Tags=[{"TagKey": "team", "TagValue": "red"}])["KeyMetadata"]
    two = kms.create_key()["KeyMetadata"]
    aliases(one, two)
    tags(one)
    policies(two)
    deletion(kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"])
    step("that was all")


if __name__ == "__main__":
    main()
