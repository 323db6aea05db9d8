// What the tests of the AWS SDK for JavaScript share: a client, and what they say and expect. The
// endpoint and the access key come from the environment.
import assert from "node:assert/strict";
import * as sdk from "@aws-sdk/client-kms";

// One attempt only, so that an error is seen as it was sent.
const client = new sdk.KMSClient({ maxAttempts: 1 });

// call runs an operation by its name.
export const call = (operation, input = {}) => client.send(new sdk[`${operation}Command`](input));

// listAll follows the pages of a list operation by the SDK's own paginator.
export async function listAll(operation, member, input = {}) {
  const all = [];
  for await (const page of sdk[`paginate${operation}`]({ client, pageSize: 1 }, input)) {
    assert.ok(page[member].length <= 1);
    all.push(...page[member]);
  }
  return all;
}

// refused checks that an operation fails with this error, with this message unless it is left out,
// and that an error of the API's model comes as the SDK's class of that name.
export async function refused(code, message, operation, input) {
  await assert.rejects(call(operation, input), (error) => {
    assert.equal(error.name, code);
    assert.ok(error instanceof (sdk[code] ?? sdk.KMSServiceException), `${code} came as ${error.constructor.name}`);
    assert.equal(error.$metadata.httpStatusCode, 400);
    assert.ok(error.$metadata.requestId);
    if (message !== undefined) {
      assert.equal(error.message, message);
    }
    return true;
  });
}

// noText is what the SDK puts where an error came without a message.
export const noText = "UnknownError";

export const step = (text) => console.log("ok:", text);
export const bytes = (blob) => Buffer.from(blob);
