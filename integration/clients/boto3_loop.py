"""Sends requests with boto3 for a test that is written in another language.

Reads one JSON object a line (profile, service, operation, parameters) and answers each with one: the result,
or of an error its code and message. Bytes are {"bytes": base64} in parameters and base64 in results.
"""

import base64
import functools
import json
import sys

import boto3
import botocore
from botocore.exceptions import ClientError

import service_headers


@functools.cache
def client(profile, service):
    session = boto3.Session(profile_name=profile)
    made = session.client(service)
    service_headers.register(made.meta.events, session._session.get_scoped_config())
    return made


def given(pairs):
    return base64.b64decode(pairs["bytes"]) if pairs.keys() == {"bytes"} else pairs


def shown(value):
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def answer(profile, service, operation, parameters):
    asked = client(profile, service)
    try:
        return {"result": getattr(asked, botocore.xform_name(operation))(**parameters)}
    except ClientError as error:
        found = error.response["Error"]
        modelled = {shape.name for shape in asked.meta.service_model.error_shapes}
        if found["Code"] in modelled and not isinstance(error, getattr(asked.exceptions, found["Code"])):
            raise TypeError(f"{found['Code']} came as {type(error)}") from error
        return {"code": found["Code"], "message": found["Message"]}


def main():
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line, object_hook=given)), default=shown), flush=True)


if __name__ == "__main__":
    main()
