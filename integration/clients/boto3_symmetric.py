"""boto3 with symmetric keys: every step asserts, and says what it showed."""

from boto3_client import kms, refused, step


def main():
    key = kms.create_key(Description="boto3")["KeyMetadata"]
    arn, key_id = key["Arn"], key["KeyId"]
    assert arn.endswith(":key/" + key_id) and key["KeyState"] == "Enabled" and key["Enabled"] is True
    assert kms.describe_key(KeyId=arn)["KeyMetadata"]["Description"] == "boto3"
    step("create_key, describe_key")

    context = {"app": "boto3", "ключ": "値"}
    for plaintext in (b"x", bytes(range(256)), b"\0" * 4096):
        sealed = kms.encrypt(KeyId=key_id, Plaintext=plaintext, EncryptionContext=context)
        assert sealed["KeyId"] == arn
        opened = kms.decrypt(CiphertextBlob=sealed["CiphertextBlob"], EncryptionContext=context)
        assert opened["Plaintext"] == plaintext and opened["KeyId"] == arn
    step("encrypt, decrypt with a context")

    refused("InvalidCiphertextException", "", kms.decrypt, CiphertextBlob=sealed["CiphertextBlob"])
    step("decrypt without the context is InvalidCiphertextException, typed")

    data_key = kms.generate_data_key(KeyId=key_id, KeySpec="AES_256")
    assert len(data_key["Plaintext"]) == 32 and "CiphertextForRecipient" not in data_key
    assert kms.decrypt(CiphertextBlob=data_key["CiphertextBlob"])["Plaintext"] == data_key["Plaintext"]
    hidden = kms.generate_data_key_without_plaintext(KeyId=key_id, NumberOfBytes=24)
    assert "Plaintext" not in hidden
    assert len(kms.decrypt(CiphertextBlob=hidden["CiphertextBlob"])["Plaintext"]) == 24
    step("generate_data_key, generate_data_key_without_plaintext")

    other = kms.create_key()["KeyMetadata"]["Arn"]
    moved = kms.re_encrypt(CiphertextBlob=hidden["CiphertextBlob"], DestinationKeyId=other)
    assert moved["SourceKeyId"] == arn and moved["KeyId"] == other
    refused("IncorrectKeyException", None, kms.decrypt, CiphertextBlob=moved["CiphertextBlob"], KeyId=arn)
    step("re_encrypt")

    assert len(kms.generate_random(NumberOfBytes=100)["Plaintext"]) == 100
    step("generate_random")

    listed = [k["KeyArn"] for page in kms.get_paginator("list_keys").paginate(PaginationConfig={"PageSize": 1}) for k in page["Keys"]]
    assert sorted(listed) == sorted([arn, other]), listed
    step("list_keys, page by page")

    refused("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.",
            kms.encrypt, KeyId=key_id, Plaintext=b"x", DryRun=True)
    kms.disable_key(KeyId=key_id)
    refused("DisabledException", f"{arn} is disabled.", kms.encrypt, KeyId=key_id, Plaintext=b"x")
    kms.enable_key(KeyId=key_id)
    kms.update_key_description(KeyId=key_id, Description="renamed")
    assert kms.describe_key(KeyId=key_id)["KeyMetadata"]["Description"] == "renamed"
    step("dry run, disable_key, enable_key, update_key_description")

    refused("NotFoundException", "Invalid keyId 'no-key'", kms.describe_key, KeyId="no-key")
    refused("ValidationException", None, kms.generate_data_key, KeyId=key_id)
    step("typed errors")
    step("that was all")


if __name__ == "__main__":
    main()
