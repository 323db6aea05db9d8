"""Runs the AWS CLI for many command lines in one process: starting it takes a second, a command far less.

Reads one JSON list of arguments a line and answers each with a JSON object: what the command wrote to its
output and error output, and the code that `aws` would have left with.
"""

import contextlib
import functools
import io
import json
import sys

from awscli.clidriver import create_clidriver


@functools.cache
def driver(profile):
    """A driver keeps the credentials that it has found first."""
    return create_clidriver()


def main():
    for line in sys.stdin:
        arguments = json.loads(line)
        profile = arguments[arguments.index("--profile") + 1] if "--profile" in arguments else None
        output, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            try:
                code = driver(profile).main(arguments)
            except SystemExit as left:  # of a command line that the CLI does not understand
                code = left.code
        print(json.dumps({"output": output.getvalue(), "errors": errors.getvalue(), "code": code}), flush=True)


if __name__ == "__main__":
    main()
