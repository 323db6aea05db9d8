// The AWS SDK for JavaScript against kms11: every step asserts, and says what it showed. The
// endpoint and the access key come from the environment.
import assert from "node:assert/strict";
import {
  CreateKeyCommand, DecryptCommand, DescribeKeyCommand, DisabledException, DisableKeyCommand,
  EnableKeyCommand, EncryptCommand, GenerateDataKeyCommand, GenerateDataKeyWithoutPlaintextCommand,
  GenerateRandomCommand, IncorrectKeyException, InvalidCiphertextException, KMSClient,
  NotFoundException, paginateListKeys, ReEncryptCommand, UpdateKeyDescriptionCommand,
} from "@aws-sdk/client-kms";

// One attempt only, so that an error is seen as it was sent.
const kms = new KMSClient({ maxAttempts: 1 });
const step = (text) => console.log("ok:", text);
const bytes = (blob) => Buffer.from(blob);

const { KeyMetadata: key } = await kms.send(new CreateKeyCommand({ Description: "javascript" }));
const { KeyId, Arn } = key;
assert.ok(Arn.endsWith(`:key/${KeyId}`));
assert.equal(key.KeyState, "Enabled");
assert.ok(Math.abs(key.CreationDate - Date.now()) < 10 * 60 * 1000);
await kms.send(new UpdateKeyDescriptionCommand({ KeyId, Description: "renamed" }));
assert.equal((await kms.send(new DescribeKeyCommand({ KeyId: Arn }))).KeyMetadata.Description, "renamed");
step("CreateKey, UpdateKeyDescription, DescribeKey");

const EncryptionContext = { app: "javascript", "ключ": "値" };
for (const Plaintext of [Buffer.from("x"), Buffer.alloc(256, 7), Buffer.alloc(4096)]) {
  const sealed = await kms.send(new EncryptCommand({ KeyId, Plaintext, EncryptionContext }));
  assert.equal(sealed.KeyId, Arn);
  const { CiphertextBlob } = sealed;
  const opened = await kms.send(new DecryptCommand({ CiphertextBlob, EncryptionContext }));
  assert.deepEqual(bytes(opened.Plaintext), Plaintext);
  await assert.rejects(kms.send(new DecryptCommand({ CiphertextBlob })), InvalidCiphertextException);
}
step("Encrypt, Decrypt with a context and without");

const dataKey = await kms.send(new GenerateDataKeyCommand({ KeyId, NumberOfBytes: 32 }));
assert.equal(dataKey.KeyId, Arn);
const again = await kms.send(new DecryptCommand({ CiphertextBlob: dataKey.CiphertextBlob, KeyId: Arn }));
assert.deepEqual(bytes(again.Plaintext), bytes(dataKey.Plaintext));
const hidden = await kms.send(new GenerateDataKeyWithoutPlaintextCommand({ KeyId, KeySpec: "AES_128" }));
assert.equal((await kms.send(new DecryptCommand({ CiphertextBlob: hidden.CiphertextBlob }))).Plaintext.length, 16);
step("GenerateDataKey, GenerateDataKeyWithoutPlaintext");

const { KeyMetadata: other } = await kms.send(new CreateKeyCommand({}));
const moved = await kms.send(new ReEncryptCommand({ CiphertextBlob: hidden.CiphertextBlob, DestinationKeyId: other.KeyId }));
assert.equal(moved.SourceKeyId, Arn);
assert.equal(moved.KeyId, other.Arn);
await assert.rejects(kms.send(new DecryptCommand({ CiphertextBlob: moved.CiphertextBlob, KeyId })), IncorrectKeyException);
step("ReEncrypt");

assert.equal((await kms.send(new GenerateRandomCommand({ NumberOfBytes: 1024 }))).Plaintext.length, 1024);
const listed = [];
for await (const page of paginateListKeys({ client: kms, pageSize: 1 }, {})) {
  listed.push(...page.Keys.map((entry) => entry.KeyArn));
}
assert.deepEqual(listed.sort(), [Arn, other.Arn].sort());
step("GenerateRandom, ListKeys page by page");

await kms.send(new DisableKeyCommand({ KeyId }));
await assert.rejects(kms.send(new EncryptCommand({ KeyId, Plaintext: Buffer.from("x") })), (error) => {
  assert.ok(error instanceof DisabledException);
  assert.equal(error.message, `${Arn} is disabled.`);
  return true;
});
await kms.send(new EnableKeyCommand({ KeyId }));
await kms.send(new EncryptCommand({ KeyId, Plaintext: Buffer.from("x") }));
step("DisableKey, EnableKey");

await assert.rejects(kms.send(new DescribeKeyCommand({ KeyId: "no-key" })), (error) => {
  assert.ok(error instanceof NotFoundException);
  assert.equal(error.message, "Invalid keyId 'no-key'");
  assert.ok(error.$metadata.requestId);
  return true;
});
step("typed errors");
