// Symmetric keys: every step asserts, and says what it showed.
import assert from "node:assert/strict";
import { bytes, call, listAll, noText, refused, step } from "./client.mjs";

const { KeyMetadata: key } = await call("CreateKey", { Description: "javascript" });
const { KeyId, Arn } = key;
assert.ok(Arn.endsWith(`:key/${KeyId}`));
assert.equal(key.KeyState, "Enabled");
assert.ok(Math.abs(key.CreationDate - Date.now()) < 10 * 60 * 1000);
await call("UpdateKeyDescription", { KeyId, Description: "renamed" });
assert.equal((await call("DescribeKey", { KeyId: Arn })).KeyMetadata.Description, "renamed");
step("CreateKey, UpdateKeyDescription, DescribeKey");

const EncryptionContext = { app: "javascript", "ключ": "値" };
for (const Plaintext of [Buffer.from("x"), Buffer.alloc(256, 7), Buffer.alloc(4096)]) {
  const sealed = await call("Encrypt", { KeyId, Plaintext, EncryptionContext });
  assert.equal(sealed.KeyId, Arn);
  const { CiphertextBlob } = sealed;
  const opened = await call("Decrypt", { CiphertextBlob, EncryptionContext });
  assert.deepEqual(bytes(opened.Plaintext), Plaintext);
  await refused("InvalidCiphertextException", noText, "Decrypt", { CiphertextBlob });
}
step("Encrypt, Decrypt with a context and without");

const dataKey = await call("GenerateDataKey", { KeyId, NumberOfBytes: 32 });
assert.equal(dataKey.KeyId, Arn);
const again = await call("Decrypt", { CiphertextBlob: dataKey.CiphertextBlob, KeyId: Arn });
assert.deepEqual(bytes(again.Plaintext), bytes(dataKey.Plaintext));
const hidden = await call("GenerateDataKeyWithoutPlaintext", { KeyId, KeySpec: "AES_128" });
assert.equal((await call("Decrypt", { CiphertextBlob: hidden.CiphertextBlob })).Plaintext.length, 16);
step("GenerateDataKey, GenerateDataKeyWithoutPlaintext");

const { KeyMetadata: other } = await call("CreateKey");
const moved = await call("ReEncrypt", { CiphertextBlob: hidden.CiphertextBlob, DestinationKeyId: other.KeyId });
assert.equal(moved.SourceKeyId, Arn);
assert.equal(moved.KeyId, other.Arn);
await refused("IncorrectKeyException", undefined, "Decrypt", { CiphertextBlob: moved.CiphertextBlob, KeyId });
step("ReEncrypt");

assert.equal((await call("GenerateRandom", { NumberOfBytes: 1024 })).Plaintext.length, 1024);
const listed = (await listAll("ListKeys", "Keys")).map((entry) => entry.KeyArn);
assert.deepEqual(listed.sort(), [Arn, other.Arn].sort());
step("GenerateRandom, ListKeys page by page");

await call("DisableKey", { KeyId });
await refused("DisabledException", `${Arn} is disabled.`, "Encrypt", { KeyId, Plaintext: Buffer.from("x") });
await call("EnableKey", { KeyId });
await call("Encrypt", { KeyId, Plaintext: Buffer.from("x") });
step("DisableKey, EnableKey");

await refused("NotFoundException", "Invalid keyId 'no-key'", "DescribeKey", { KeyId: "no-key" });
step("typed errors");
step("that was all");
