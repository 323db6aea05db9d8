"""boto3 with every kind of key: signatures, MACs, shared secrets, RSA encryption and data key pairs, checked
outside by OpenSSL with what GetPublicKey gives."""

import hashlib

import openssl
from boto3_client import kms, refused, step

MESSAGE = b"\0 a message \xff"

# spec, algorithm, digest, padding. Pairs of RSA_4096 take seconds, and are left out.
SIGNATURES = (
    ("RSA_2048", "RSASSA_PKCS1_V1_5_SHA_256", "sha256", openssl.PKCS1),
    ("RSA_2048", "RSASSA_PKCS1_V1_5_SHA_512", "sha512", openssl.PKCS1),
    ("RSA_2048", "RSASSA_PSS_SHA_256", "sha256", openssl.PSS),
    ("RSA_2048", "RSASSA_PSS_SHA_384", "sha384", openssl.PSS),
    ("ECC_NIST_P256", "ECDSA_SHA_256", "sha256", ()),
    ("ECC_NIST_P384", "ECDSA_SHA_384", "sha384", ()),
    ("ECC_NIST_P521", "ECDSA_SHA_512", "sha512", ()),
    ("ECC_SECG_P256K1", "ECDSA_SHA_256", "sha256", ()),
    ("ECC_NIST_EDWARDS25519", "ED25519_SHA_512", None, ()),
)


def flipped(data):
    """The data with one bit changed, in the middle."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1:]


def make(spec, usage):
    key = kms.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]
    assert key["KeySpec"] == key["CustomerMasterKeySpec"] == spec and key["KeyUsage"] == usage, key
    return key


def signatures():
    keys = {}
    for spec, algorithm, digest, padding in SIGNATURES:
        key = keys.setdefault(spec, None) or make(spec, "SIGN_VERIFY")
        keys[spec] = key
        arn = key["Arn"]
        public = kms.get_public_key(KeyId=arn)
        assert public["KeyId"] == arn and algorithm in public["SigningAlgorithms"] == key["SigningAlgorithms"]
        given = [("RAW", MESSAGE)]
        if digest:
            given.append(("DIGEST", hashlib.new(digest, MESSAGE).digest()))
        for kind, data in given:
            request = {"KeyId": arn, "Message": data, "MessageType": kind, "SigningAlgorithm": algorithm}
            signed = kms.sign(**request)
            signature = signed["Signature"]
            assert signed["KeyId"] == arn and signed["SigningAlgorithm"] == algorithm
            assert openssl.verifies(public["PublicKey"], digest, MESSAGE, signature, padding), (spec, algorithm, kind)
            assert not openssl.verifies(public["PublicKey"], digest, MESSAGE + b".", signature, padding)
            verified = kms.verify(Signature=signature, **request)
            assert verified["SignatureValid"] is True and verified["KeyId"] == arn
            refused("KMSInvalidSignatureException", "", kms.verify, Signature=flipped(signature), **request)
            request["Message"] = flipped(data)
            refused("KMSInvalidSignatureException", "", kms.verify, Signature=signature, **request)
    step("sign, verify, get_public_key: " + ", ".join(keys))

    arn = keys["ECC_NIST_P256"]["Arn"]
    refused("InvalidKeyUsageException", "Algorithm ECDSA_SHA_384 is incompatible with key spec ECC_NIST_P256.",
            kms.sign, KeyId=arn, Message=MESSAGE, SigningAlgorithm="ECDSA_SHA_384")
    refused("ValidationException", "Digest is invalid length for algorithm ECDSA_SHA_256.",
            kms.sign, KeyId=arn, Message=MESSAGE, MessageType="DIGEST", SigningAlgorithm="ECDSA_SHA_256")
    refused("InvalidKeyUsageException", f"{arn} key usage is SIGN_VERIFY which is not valid for Encrypt.",
            kms.encrypt, KeyId=arn, Plaintext=b"x")
    step("signing requests that are refused")


def macs():
    for bits in (224, 256, 384, 512):
        key = make(f"HMAC_{bits}", "GENERATE_VERIFY_MAC")
        arn, algorithm = key["Arn"], f"HMAC_SHA_{bits}"
        assert key["MacAlgorithms"] == [algorithm]
        request = {"KeyId": arn, "Message": MESSAGE, "MacAlgorithm": algorithm}
        mac = kms.generate_mac(**request)["Mac"]
        assert len(mac) == bits // 8 and kms.generate_mac(**request)["Mac"] == mac
        verified = kms.verify_mac(Mac=mac, **request)
        assert verified["MacValid"] is True and verified["KeyId"] == arn
        for wrong in (flipped(mac), mac[:-1], mac + b"\0"):
            refused("KMSInvalidMacException", "", kms.verify_mac, Mac=wrong, **request)
        request["Message"] = flipped(MESSAGE)
        refused("KMSInvalidMacException", "", kms.verify_mac, Mac=mac, **request)
    refused("UnsupportedOperationException", None, kms.get_public_key, KeyId=arn)
    step("generate_mac, verify_mac")


def shared_secrets():
    for spec, curve in (("ECC_NIST_P256", "P-256"), ("ECC_NIST_P384", "P-384"), ("ECC_NIST_P521", "P-521")):
        arn = make(spec, "KEY_AGREEMENT")["Arn"]
        public = kms.get_public_key(KeyId=arn)
        assert public["KeyAgreementAlgorithms"] == ["ECDH"]
        private, peer = openssl.make_pair(curve)
        derived = kms.derive_shared_secret(KeyId=arn, KeyAgreementAlgorithm="ECDH", PublicKey=peer)
        assert derived["SharedSecret"] == openssl.derive(private, public["PublicKey"]), spec
        assert derived["KeyId"] == arn and derived["KeyOrigin"] == "AWS_KMS"
    refused("ValidationException", "", kms.derive_shared_secret,
            KeyId=arn, KeyAgreementAlgorithm="ECDH", PublicKey=b"InvalidPublicKey")
    step("derive_shared_secret")


def rsa_encryption():
    key = make("RSA_2048", "ENCRYPT_DECRYPT")
    arn = key["Arn"]
    assert key["EncryptionAlgorithms"] == ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"]
    public = kms.get_public_key(KeyId=arn)["PublicKey"]
    for digest, algorithm, most in (("sha1", "RSAES_OAEP_SHA_1", 214), ("sha256", "RSAES_OAEP_SHA_256", 190)):
        plaintext = bytes(range(most))
        inside = kms.encrypt(KeyId=arn, Plaintext=plaintext, EncryptionAlgorithm=algorithm)["CiphertextBlob"]
        for blob in (openssl.encrypt(public, digest, plaintext), inside):
            opened = kms.decrypt(KeyId=arn, CiphertextBlob=blob, EncryptionAlgorithm=algorithm)
            assert opened["Plaintext"] == plaintext and opened["EncryptionAlgorithm"] == algorithm
        refused("InvalidCiphertextException", "", kms.decrypt,
                KeyId=arn, CiphertextBlob=flipped(inside), EncryptionAlgorithm=algorithm)
        refused("ValidationException", f"Algorithm {algorithm} and key spec RSA_2048 cannot encrypt data larger than {most} bytes.",
                kms.encrypt, KeyId=arn, Plaintext=plaintext + b"x", EncryptionAlgorithm=algorithm)
    step("decrypt what OpenSSL has encrypted with the public key")


def data_key_pairs():
    arn = kms.create_key()["KeyMetadata"]["Arn"]
    context = {"pair": "boto3"}
    for spec, digest in (("RSA_2048", "sha256"), ("ECC_NIST_P256", "sha256"), ("ECC_NIST_P384", "sha384"),
                         ("ECC_NIST_P521", "sha512"), ("ECC_SECG_P256K1", "sha256"), ("ECC_NIST_EDWARDS25519", None)):
        request = {"KeyId": arn, "KeyPairSpec": spec, "EncryptionContext": context}
        clear = kms.generate_data_key_pair(**request)
        hidden = kms.generate_data_key_pair_without_plaintext(**request)
        assert clear["KeyId"] == hidden["KeyId"] == arn and "PrivateKeyPlaintext" not in hidden
        opened = [kms.decrypt(CiphertextBlob=pair["PrivateKeyCiphertextBlob"], EncryptionContext=context)["Plaintext"]
                  for pair in (clear, hidden)]
        assert opened[0] == clear["PrivateKeyPlaintext"]
        for private, pair in zip(opened, (clear, hidden)):
            assert openssl.verifies(pair["PublicKey"], digest, MESSAGE, openssl.sign(private, digest, MESSAGE)), spec
    step("generate_data_key_pair, generate_data_key_pair_without_plaintext: the pairs sign outside")


if __name__ == "__main__":
    signatures()
    macs()
    shared_secrets()
    rsa_encryption()
    data_key_pairs()
    step("that was all")
