// Every kind of key: signatures, MACs, shared secrets, RSA encryption and data key pairs, checked
// outside by node:crypto with what GetPublicKey gives.
import assert from "node:assert/strict";
import crypto from "node:crypto";
import { bytes, call, noText, refused, step } from "./client.mjs";

const Message = Buffer.from("a message \u0000 ✓");
const { RSA_PKCS1_PADDING, RSA_PKCS1_PSS_PADDING, RSA_PKCS1_OAEP_PADDING, RSA_PSS_SALTLEN_DIGEST } = crypto.constants;
const pkcs1 = { padding: RSA_PKCS1_PADDING };
const pss = { padding: RSA_PKCS1_PSS_PADDING, saltLength: RSA_PSS_SALTLEN_DIGEST };

// What is signed with: KeySpec, SigningAlgorithm, and the digest and the options of node:crypto.
const signatures = [
  ["RSA_2048", "RSASSA_PKCS1_V1_5_SHA_256", "sha256", pkcs1],
  ["RSA_2048", "RSASSA_PKCS1_V1_5_SHA_384", "sha384", pkcs1],
  ["RSA_2048", "RSASSA_PSS_SHA_256", "sha256", pss],
  ["RSA_2048", "RSASSA_PSS_SHA_512", "sha512", pss],
  ["ECC_NIST_P256", "ECDSA_SHA_256", "sha256", {}],
  ["ECC_NIST_P384", "ECDSA_SHA_384", "sha384", {}],
  ["ECC_NIST_P521", "ECDSA_SHA_512", "sha512", {}],
  ["ECC_SECG_P256K1", "ECDSA_SHA_256", "sha256", {}],
  ["ECC_NIST_EDWARDS25519", "ED25519_SHA_512", null, {}],
];

const make = async (KeySpec, KeyUsage) => (await call("CreateKey", { KeySpec, KeyUsage })).KeyMetadata;
const readPublic = (der) => crypto.createPublicKey({ key: bytes(der), format: "der", type: "spki" });
const readPrivate = (der) => crypto.createPrivateKey({ key: bytes(der), format: "der", type: "pkcs8" });

// flipped changes one bit in the middle.
function flipped(data) {
  const copy = Buffer.from(data);
  copy[copy.length >> 1] ^= 1;
  return copy;
}

const signers = new Map();
for (const [spec, SigningAlgorithm, digest, options] of signatures) {
  if (!signers.has(spec)) {
    signers.set(spec, await make(spec, "SIGN_VERIFY"));
  }
  const { Arn: KeyId, SigningAlgorithms } = signers.get(spec);
  const answer = await call("GetPublicKey", { KeyId });
  assert.equal(answer.KeyId, KeyId);
  assert.deepEqual(answer.SigningAlgorithms, SigningAlgorithms);
  const key = readPublic(answer.PublicKey);
  const inputs = { RAW: Message };
  if (digest) {
    inputs.DIGEST = crypto.createHash(digest).update(Message).digest();
  }
  for (const [MessageType, input] of Object.entries(inputs)) {
    const request = { KeyId, SigningAlgorithm, MessageType, Message: input };
    const { Signature, ...signed } = await call("Sign", request);
    assert.deepEqual([signed.KeyId, signed.SigningAlgorithm], [KeyId, SigningAlgorithm]);
    assert.ok(crypto.verify(digest, Message, { key, ...options }, Signature), `${SigningAlgorithm} of a ${MessageType}`);
    assert.ok(!crypto.verify(digest, flipped(Message), { key, ...options }, Signature));
    const verified = await call("Verify", { ...request, Signature });
    assert.deepEqual([verified.SignatureValid, verified.KeyId], [true, KeyId]);
    await refused("KMSInvalidSignatureException", noText, "Verify", { ...request, Signature: flipped(Signature) });
    await refused("KMSInvalidSignatureException", noText, "Verify", { ...request, Message: flipped(input), Signature });
  }
}
step(`Sign, Verify, GetPublicKey: ${[...signers.keys()].join(", ")}`);

const { Arn: ecdsa } = signers.get("ECC_NIST_P256");
await refused("InvalidKeyUsageException", "Algorithm ECDSA_SHA_384 is incompatible with key spec ECC_NIST_P256.",
  "Sign", { KeyId: ecdsa, Message, SigningAlgorithm: "ECDSA_SHA_384" });
await refused("InvalidKeyUsageException", `${ecdsa} key usage is SIGN_VERIFY which is not valid for GenerateMac.`,
  "GenerateMac", { KeyId: ecdsa, Message, MacAlgorithm: "HMAC_SHA_256" });
await refused("ValidationException", "Digest is invalid length for algorithm ECDSA_SHA_256.",
  "Sign", { KeyId: ecdsa, Message, MessageType: "DIGEST", SigningAlgorithm: "ECDSA_SHA_256" });
step("signing requests that are refused");

for (const bits of [224, 256, 384, 512]) {
  const { Arn: KeyId, MacAlgorithms } = await make(`HMAC_${bits}`, "GENERATE_VERIFY_MAC");
  const request = { KeyId, Message, MacAlgorithm: `HMAC_SHA_${bits}` };
  assert.deepEqual(MacAlgorithms, [request.MacAlgorithm]);
  const { Mac } = await call("GenerateMac", request);
  assert.equal(Mac.length, bits / 8);
  assert.deepEqual((await call("GenerateMac", request)).Mac, Mac);
  assert.equal((await call("VerifyMac", { ...request, Mac })).MacValid, true);
  await refused("KMSInvalidMacException", noText, "VerifyMac", { ...request, Mac: flipped(Mac) });
  await refused("KMSInvalidMacException", noText, "VerifyMac", { ...request, Message: flipped(Message), Mac });
}
step("GenerateMac, VerifyMac");

for (const [spec, namedCurve] of [["ECC_NIST_P256", "P-256"], ["ECC_NIST_P384", "P-384"], ["ECC_NIST_P521", "P-521"]]) {
  const { Arn: KeyId } = await make(spec, "KEY_AGREEMENT");
  const theirs = readPublic((await call("GetPublicKey", { KeyId })).PublicKey);
  const mine = crypto.generateKeyPairSync("ec", { namedCurve });
  const PublicKey = mine.publicKey.export({ format: "der", type: "spki" });
  const derived = await call("DeriveSharedSecret", { KeyId, KeyAgreementAlgorithm: "ECDH", PublicKey });
  assert.deepEqual(bytes(derived.SharedSecret), crypto.diffieHellman({ privateKey: mine.privateKey, publicKey: theirs }));
  assert.deepEqual([derived.KeyId, derived.KeyOrigin], [KeyId, "AWS_KMS"]);
  await refused("ValidationException", noText, "DeriveSharedSecret", { KeyId, KeyAgreementAlgorithm: "ECDH", PublicKey: PublicKey.subarray(1) });
}
step("DeriveSharedSecret");

const { Arn: rsa } = await make("RSA_2048", "ENCRYPT_DECRYPT");
const rsaPublic = readPublic((await call("GetPublicKey", { KeyId: rsa })).PublicKey);
for (const [oaepHash, EncryptionAlgorithm] of [["sha1", "RSAES_OAEP_SHA_1"], ["sha256", "RSAES_OAEP_SHA_256"]]) {
  const request = { KeyId: rsa, EncryptionAlgorithm };
  const outside = crypto.publicEncrypt({ key: rsaPublic, padding: RSA_PKCS1_OAEP_PADDING, oaepHash }, Message);
  const inside = await call("Encrypt", { ...request, Plaintext: Message });
  for (const CiphertextBlob of [outside, inside.CiphertextBlob]) {
    const opened = await call("Decrypt", { ...request, CiphertextBlob });
    assert.deepEqual([bytes(opened.Plaintext), opened.KeyId], [Message, rsa]);
  }
  await refused("InvalidCiphertextException", noText, "Decrypt", { ...request, CiphertextBlob: flipped(outside) });
}
step("Decrypt of what node:crypto has encrypted with the public key");

const { Arn: wrapping } = await make("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT");
const EncryptionContext = { pair: "javascript" };
for (const [KeyPairSpec, digest] of [
  ["RSA_2048", "sha256"], ["ECC_NIST_P256", "sha256"], ["ECC_NIST_P384", "sha384"],
  ["ECC_NIST_P521", "sha512"], ["ECC_SECG_P256K1", "sha256"], ["ECC_NIST_EDWARDS25519", null],
]) {
  const request = { KeyId: wrapping, KeyPairSpec, EncryptionContext };
  const clear = await call("GenerateDataKeyPair", request);
  const hidden = await call("GenerateDataKeyPairWithoutPlaintext", request);
  assert.equal(hidden.PrivateKeyPlaintext, undefined);
  for (const pair of [clear, hidden]) {
    assert.deepEqual([pair.KeyId, pair.KeyPairSpec], [wrapping, KeyPairSpec]);
    const opened = await call("Decrypt", { CiphertextBlob: pair.PrivateKeyCiphertextBlob, EncryptionContext });
    if (pair.PrivateKeyPlaintext) {
      assert.deepEqual(opened.Plaintext, pair.PrivateKeyPlaintext);
    }
    const signature = crypto.sign(digest, Message, readPrivate(opened.Plaintext));
    assert.ok(crypto.verify(digest, Message, readPublic(pair.PublicKey), signature), KeyPairSpec);
  }
}
step("GenerateDataKeyPair, GenerateDataKeyPairWithoutPlaintext: the pairs sign outside");
step("that was all");
