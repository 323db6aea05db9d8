// Aliases, tags, key policies and deletion.
import assert from "node:assert/strict";
import { bytes, call, listAll, noText, refused, step } from "./client.mjs";

const { KeyMetadata: one } = await call("CreateKey", { Tags: [{ TagKey: "team", TagValue: "red" }] });
const { KeyMetadata: two } = await call("CreateKey");

const AliasName = "alias/javascript/app";
const aliasArn = `${one.Arn.split(":key/")[0]}:${AliasName}`;
const Plaintext = Buffer.from("by alias");
await call("CreateAlias", { AliasName, TargetKeyId: one.KeyId });
let CiphertextBlob;
for (const KeyId of [AliasName, aliasArn, one.KeyId, one.Arn]) {
  const sealed = await call("Encrypt", { KeyId, Plaintext });
  CiphertextBlob = sealed.CiphertextBlob;
  assert.equal(sealed.KeyId, one.Arn);
  assert.deepEqual(bytes((await call("Decrypt", { KeyId, CiphertextBlob })).Plaintext), Plaintext);
  assert.equal((await call("DescribeKey", { KeyId })).KeyMetadata.Arn, one.Arn);
}
await call("UpdateAlias", { AliasName, TargetKeyId: two.Arn });
await refused("IncorrectKeyException", undefined, "Decrypt", { KeyId: AliasName, CiphertextBlob });
await refused("AlreadyExistsException", `An alias with the name ${aliasArn} already exists`, "CreateAlias", { AliasName, TargetKeyId: one.KeyId });
await refused("NotAuthorizedException", noText, "CreateAlias", { AliasName: "alias/aws/x", TargetKeyId: one.KeyId });
await refused("NotFoundException", `Invalid keyId ${AliasName}`, "DisableKey", { KeyId: AliasName });
await call("CreateAlias", { AliasName: "alias/javascript/other", TargetKeyId: one.Arn });
const listed = await listAll("ListAliases", "Aliases");
assert.deepEqual(listed.map((a) => [a.AliasName, a.TargetKeyId]), [[AliasName, two.KeyId], ["alias/javascript/other", one.KeyId]]);
assert.ok(listed.every((a) => a.CreationDate instanceof Date && a.LastUpdatedDate >= a.CreationDate));
assert.deepEqual((await listAll("ListAliases", "Aliases", { KeyId: two.Arn })).map((a) => a.AliasArn), [aliasArn]);
await call("DeleteAlias", { AliasName });
await refused("NotFoundException", `Alias ${aliasArn} is not found.`, "Encrypt", { KeyId: AliasName, Plaintext });
step("CreateAlias, UpdateAlias, ListAliases, DeleteAlias, keys by every form of KeyId");

const tags = async () => Object.fromEntries((await listAll("ListResourceTags", "Tags", { KeyId: one.KeyId })).map((t) => [t.TagKey, t.TagValue]));
assert.deepEqual(await tags(), { team: "red" });
await call("TagResource", { KeyId: one.Arn, Tags: [{ TagKey: "team", TagValue: "blue" }, { TagKey: "étage", TagValue: "" }] });
await call("UntagResource", { KeyId: one.KeyId, TagKeys: ["never there"] });
assert.deepEqual(await tags(), { team: "blue", "étage": "" });
await call("UntagResource", { KeyId: one.KeyId, TagKeys: ["team"] });
assert.deepEqual(await tags(), { "étage": "" });
const twice = { TagKey: "a", TagValue: "" };
await refused("TagException", "Duplicate tag keys", "TagResource", { KeyId: one.KeyId, Tags: [twice, twice] });
await refused("TagException", "Tags beginning with aws: are reserved", "CreateKey", { Tags: [{ TagKey: "aws:a", TagValue: "" }] });
step("TagResource, UntagResource, ListResourceTags");

const named = { KeyId: two.KeyId, PolicyName: "default" };
assert.deepEqual((await call("ListKeyPolicies", { KeyId: two.Arn })).PolicyNames, ["default"]);
const policy = JSON.parse((await call("GetKeyPolicy", named)).Policy);
assert.equal(policy.Statement[0].Principal.AWS, `arn:aws:iam::${two.AWSAccountId}:root`);
const denied = { ...policy, Statement: [...policy.Statement, { Effect: "Deny", Principal: "*", Action: "kms:Encrypt", Resource: "*" }] };
await call("PutKeyPolicy", { ...named, Policy: JSON.stringify(denied) });
assert.equal((await call("GetKeyPolicy", named)).Policy, JSON.stringify(denied));
await refused("AccessDeniedException", undefined, "Encrypt", { KeyId: two.KeyId, Plaintext });
await call("PutKeyPolicy", { ...named, Policy: JSON.stringify(policy) });
await call("Encrypt", { KeyId: two.KeyId, Plaintext });
await refused("MalformedPolicyDocumentException", undefined, "PutKeyPolicy", { ...named, Policy: "{}" });
step("GetKeyPolicy, PutKeyPolicy, ListKeyPolicies");

const { KeyMetadata: mac } = await call("CreateKey", { KeySpec: "HMAC_256", KeyUsage: "GENERATE_VERIFY_MAC" });
const KeyId = mac.Arn;
const request = { KeyId, Message: Plaintext, MacAlgorithm: "HMAC_SHA_256" };
const { Mac } = await call("GenerateMac", request);
const scheduled = await call("ScheduleKeyDeletion", { KeyId, PendingWindowInDays: 7 });
assert.deepEqual([scheduled.KeyId, scheduled.KeyState, scheduled.PendingWindowInDays], [KeyId, "PendingDeletion", 7]);
const days = (scheduled.DeletionDate - Date.now()) / 86_400_000;
assert.ok(days > 6.9 && days < 7.1, `${days} days`);
assert.deepEqual((await call("DescribeKey", { KeyId })).KeyMetadata.DeletionDate, scheduled.DeletionDate);
for (const [operation, input] of [["GenerateMac", request], ["VerifyMac", { ...request, Mac }], ["EnableKey", { KeyId }]]) {
  await refused("KMSInvalidStateException", `${KeyId} is pending deletion.`, operation, input);
}
assert.equal((await call("CancelKeyDeletion", { KeyId })).KeyId, KeyId);
await refused("DisabledException", `${KeyId} is disabled.`, "GenerateMac", request);
await call("EnableKey", { KeyId });
assert.equal((await call("VerifyMac", { ...request, Mac })).MacValid, true);
await refused("KMSInvalidStateException", `${KeyId} is not pending deletion.`, "CancelKeyDeletion", { KeyId });
step("ScheduleKeyDeletion, CancelKeyDeletion");
step("that was all");
