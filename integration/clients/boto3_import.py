"""boto3 with imported key material: keys that OpenSSL makes and wraps, with every algorithm that may wrap
each, used in the server and judged outside."""

import datetime
import hashlib
import hmac
import os

import openssl
from boto3_client import kms, refused, step

MESSAGE = b"\0 a message \xff"
OAEP = ("RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256")
WRAP = ("RSA_AES_KEY_WRAP_SHA_1", "RSA_AES_KEY_WRAP_SHA_256")
FOR_EVER = {"ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}

# Each algorithm meets each size of wrapping key once.
sizes = {algorithm: ["RSA_4096", "RSA_3072", "RSA_2048"] for algorithm in OAEP + WRAP}


def size_for(algorithm, spec):
    left = sizes[algorithm]
    size = left.pop() if left else "RSA_2048"
    if size == "RSA_2048" and spec == "ECC_NIST_P521" and algorithm in OAEP:
        return "RSA_3072"  # it does not fit
    return size


def wrap(public, algorithm, material):
    digest = "sha256" if algorithm.endswith("256") else "sha1"
    if algorithm in OAEP:
        return openssl.encrypt(public, digest, material)
    key = os.urandom(32)
    return openssl.encrypt(public, digest, key) + openssl.wrap_padded(key, material)


def symmetric(arn, material, _):
    blob = kms.encrypt(KeyId=arn, Plaintext=MESSAGE, EncryptionContext={"a": "b"})["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=blob, EncryptionContext={"a": "b"})["Plaintext"] == MESSAGE
    # What docs/formats.md says of the material's id.
    key_id = arn.rpartition("/")[2]
    label = b"\0\0\0\1kms11 key material\0" + key_id.encode()
    current = kms.describe_key(KeyId=arn)["KeyMetadata"]["CurrentKeyMaterialId"]
    assert current == hmac.new(material, label, hashlib.sha256).hexdigest()


def mac(bits):
    def prove(arn, material, _):
        algorithm = f"HMAC_SHA_{bits}"
        tag = hmac.new(material, MESSAGE, f"sha{bits}").digest()
        assert kms.generate_mac(KeyId=arn, Message=MESSAGE, MacAlgorithm=algorithm)["Mac"] == tag
        assert kms.verify_mac(KeyId=arn, Message=MESSAGE, MacAlgorithm=algorithm, Mac=tag)["MacValid"]
    return prove


def decrypts(arn, _, public):
    for algorithm, digest in (("RSAES_OAEP_SHA_1", "sha1"), ("RSAES_OAEP_SHA_256", "sha256")):
        blob = openssl.encrypt(public, digest, MESSAGE)
        assert kms.decrypt(KeyId=arn, CiphertextBlob=blob, EncryptionAlgorithm=algorithm)["Plaintext"] == MESSAGE


def signs(algorithm, digest, padding=openssl.PKCS1):
    def prove(arn, material, public):
        signature = kms.sign(KeyId=arn, Message=MESSAGE, SigningAlgorithm=algorithm)["Signature"]
        assert openssl.verifies(public, digest, MESSAGE, signature, padding)
        assert not openssl.verifies(public, digest, MESSAGE + b".", signature, padding)
        if algorithm.startswith(("RSASSA_PKCS1", "ED25519")):  # there is only one signature
            assert signature == openssl.sign(material, digest, MESSAGE)
        else:
            outside = signature if padding else openssl.sign(material, digest, MESSAGE)
            kms.verify(KeyId=arn, Message=MESSAGE, SigningAlgorithm=algorithm, Signature=outside)
    return prove


def agrees(curve):
    def prove(arn, _, public):
        peer, peer_public = openssl.make_pair(curve)
        agreed = kms.derive_shared_secret(KeyId=arn, KeyAgreementAlgorithm="ECDH", PublicKey=peer_public)
        assert agreed["SharedSecret"] == openssl.derive(peer, public) and agreed["KeyOrigin"] == "EXTERNAL"
    return prove


def kinds():
    """Spec, usage, material, public key, wrapping algorithms, proof."""
    yield "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", os.urandom(32), None, OAEP, symmetric
    for bits in (224, 256, 384, 512):
        yield f"HMAC_{bits}", "GENERATE_VERIFY_MAC", os.urandom(bits // 8), None, OAEP, mac(bits)
    for bits in (2048, 3072, 4096):
        private, public = openssl.make_key("RSA", f"rsa_keygen_bits:{bits}")
        yield f"RSA_{bits}", "ENCRYPT_DECRYPT", private, public, WRAP, decrypts
        yield f"RSA_{bits}", "SIGN_VERIFY", private, public, WRAP[:1], signs("RSASSA_PKCS1_V1_5_SHA_512", "sha512")
        yield f"RSA_{bits}", "SIGN_VERIFY", private, public, WRAP[1:], signs("RSASSA_PSS_SHA_384", "sha384", openssl.PSS)
    for spec, curve, bits in (("ECC_NIST_P256", "P-256", 256), ("ECC_NIST_P384", "P-384", 384),
                              ("ECC_NIST_P521", "P-521", 512), ("ECC_SECG_P256K1", "secp256k1", 256)):
        private, public = openssl.make_key("EC", f"ec_paramgen_curve:{curve}")
        yield spec, "SIGN_VERIFY", private, public, OAEP + WRAP, signs(f"ECDSA_SHA_{bits}", f"sha{bits}")
        if spec != "ECC_SECG_P256K1":
            yield spec, "KEY_AGREEMENT", private, public, OAEP + WRAP, agrees(curve)
    private, public = openssl.make_key("ED25519")
    yield "ECC_NIST_EDWARDS25519", "SIGN_VERIFY", private, public, OAEP + WRAP, signs("ED25519_SHA_512", None)


def flow(spec, usage, material, public, algorithm, prove):
    key = kms.create_key(KeySpec=spec, KeyUsage=usage, Origin="EXTERNAL")["KeyMetadata"]
    arn = key["Arn"]
    assert key["KeyState"] == "PendingImport" and not key["Enabled"], key
    given = kms.get_parameters_for_import(KeyId=arn, WrappingAlgorithm=algorithm, WrappingKeySpec=size_for(algorithm, spec))
    left = given["ParametersValidTo"] - datetime.datetime.now(datetime.timezone.utc)
    assert given["KeyId"] == arn and 23 < left.total_seconds() / 3600 < 25, left
    wrapped = wrap(given["PublicKey"], algorithm, material)
    request = {"KeyId": arn, "ImportToken": given["ImportToken"], "EncryptedKeyMaterial": wrapped, **FOR_EVER}
    done = kms.import_key_material(**request)
    assert done["KeyId"] == arn and len(done["KeyMaterialId"]) == 64
    assert kms.describe_key(KeyId=arn)["KeyMetadata"]["KeyState"] == "Enabled"
    if public:
        assert kms.get_public_key(KeyId=arn)["PublicKey"] == public
    prove(arn, material, public)
    deleted = kms.delete_imported_key_material(KeyId=arn)
    assert deleted["KeyMaterialId"] == done["KeyMaterialId"]
    refused("KMSInvalidStateException", f"{arn} is pending import.", kms.disable_key, KeyId=arn)
    assert kms.import_key_material(**request)["KeyMaterialId"] == done["KeyMaterialId"]
    prove(arn, material, public)


def mistakes():
    arn = kms.create_key(Origin="EXTERNAL")["KeyMetadata"]["Arn"]
    other = kms.create_key(Origin="EXTERNAL")["KeyMetadata"]["Arn"]
    given = kms.get_parameters_for_import(KeyId=arn, WrappingAlgorithm="RSAES_OAEP_SHA_256", WrappingKeySpec="RSA_2048")
    material = os.urandom(32)
    request = {"KeyId": arn, "ImportToken": given["ImportToken"],
               "EncryptedKeyMaterial": wrap(given["PublicKey"], "RSAES_OAEP_SHA_256", material)}
    refused("ValidationException", "A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES",
            kms.import_key_material, **request)
    refused("InvalidImportTokenException", None, kms.import_key_material, **{**request, **FOR_EVER, "KeyId": other})
    refused("InvalidImportTokenException", None, kms.import_key_material, **{**request, **FOR_EVER, "ImportToken": b"token"})
    garbled = bytearray(request["EncryptedKeyMaterial"])
    garbled[9] ^= 1
    refused("InvalidCiphertextException", "", kms.import_key_material,
            **{**request, **FOR_EVER, "EncryptedKeyMaterial": bytes(garbled)})
    short = wrap(given["PublicKey"], "RSAES_OAEP_SHA_256", material[:31])
    refused("IncorrectKeyMaterialException", None, kms.import_key_material,
            **{**request, **FOR_EVER, "EncryptedKeyMaterial": short})
    ends = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=30)
    kms.import_key_material(ValidTo=ends, **request)
    shown = kms.describe_key(KeyId=arn)["KeyMetadata"]
    assert shown["ExpirationModel"] == "KEY_MATERIAL_EXPIRES" and abs(shown["ValidTo"] - ends).total_seconds() < 1
    another = wrap(given["PublicKey"], "RSAES_OAEP_SHA_256", os.urandom(32))
    refused("IncorrectKeyMaterialException", None, kms.import_key_material,
            **{**request, **FOR_EVER, "EncryptedKeyMaterial": another})
    here = kms.create_key()["KeyMetadata"]["Arn"]
    refused("UnsupportedOperationException", f"{here} origin is AWS_KMS which is not valid for this operation.",
            kms.get_parameters_for_import, KeyId=here, WrappingAlgorithm="RSAES_OAEP_SHA_256", WrappingKeySpec="RSA_2048")
    step("imports that are refused")


def main():
    walked = []
    for spec, usage, material, public, algorithms, prove in kinds():
        for algorithm in algorithms:
            flow(spec, usage, material, public, algorithm, prove)
        walked.append(f"{spec} {usage}")
    assert not any(sizes.values()), sizes
    step("get_parameters_for_import, import_key_material, delete_imported_key_material: " + ", ".join(walked))
    mistakes()
    step("that was all")


main()
