"""Says whether the Python that runs this has the AWS CLI v1 and boto3 of requirements.txt or newer.

Prints the versions found and leaves with 0 if so; else prints what is wrong and leaves with 1.
"""

import pathlib
import sys
from importlib import metadata

CLIENTS = ("awscli", "boto3")


def number(version):
    return tuple(int(part) for part in version.split(".")[:3])


def main():
    lines = pathlib.Path(__file__).with_name("requirements.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    for name in CLIENTS:
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            sys.exit(f"{sys.executable} has no {name}")
        if number(found) < number(pinned[name]) or number(found)[0] != number(pinned[name])[0]:
            sys.exit(f"{sys.executable} has {name} {found}, not {pinned[name]} or newer")
        print(f"{name} {found}")


if __name__ == "__main__":
    main()
