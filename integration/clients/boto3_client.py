"""What the boto3 tests share: a client, and what they say and expect. The endpoint and the access key
come from the environment."""

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

# One attempt only, so that an error is seen as it was sent.
kms = boto3.client("kms", config=Config(retries={"total_max_attempts": 1}))


def step(text):
    print("ok:", text, flush=True)


def refused(code, message, call, **arguments):
    """Checks that a call fails with this code, and with this message unless it is None; gives the exception.
    A code of the API's model must come as the class of that name."""
    try:
        call(**arguments)
    except ClientError as error:
        found = error.response["Error"]
        assert found["Code"] == code, f"code {found['Code']}, want {code}"
        assert message is None or found["Message"] == message, f"message {found['Message']!r}, want {message!r}"
        modelled = code in {shape.name for shape in kms.meta.service_model.error_shapes}
        assert not modelled or isinstance(error, getattr(kms.exceptions, code)), f"{code} came as {type(error)}"
        return error
    raise AssertionError(f"{code} was expected, the call succeeded")
