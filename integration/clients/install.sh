#!/bin/sh
# Installs the clients of the integration tests where they are missing: the AWS CLI v1 and boto3
# into a virtual environment (first argument), the AWS SDK for JavaScript into node/node_modules.
# Nothing is installed system-wide, and what is on the machine is used if it is new enough.
set -eu
venv=$1
here=$(cd "$(dirname "$0")" && pwd)

need() {
	command -v "$1" >/dev/null 2>&1 || { echo "integration-deps: $1 is missing: install $2" >&2; exit 1; }
}

need openssl "OpenSSL 3 (the package openssl)"
need python3 "Python 3.10 or newer with pip"
if python3 "$here/check.py"; then
	echo "integration-deps: using the Python clients of $(command -v python3)"
elif [ -x "$venv/bin/python" ] && "$venv/bin/python" "$here/check.py"; then
	echo "integration-deps: using the Python clients of $venv"
else
	echo "integration-deps: installing the AWS CLI and boto3 into $venv"
	rm -rf "$venv"
	# Without ensurepip, which Debian keeps in a package of its own; the pip of python3 serves both.
	python3 -m venv --without-pip "$venv"
	python3 -m pip --python "$venv/bin/python" install --quiet --no-deps --requirement "$here/requirements.txt"
	"$venv/bin/python" "$here/check.py"
fi

need node "Node.js 20 or newer"
need npm npm
# The lock file that npm writes beside the modules says which versions are there.
installed=$here/node/node_modules/.package-lock.json
if [ -f "$installed" ] && [ ! "$here/node/package-lock.json" -nt "$installed" ]; then
	echo "integration-deps: using the JavaScript client of $here/node"
else
	echo "integration-deps: installing the AWS SDK for JavaScript into $here/node"
	(cd "$here/node" && npm ci --no-audit --no-fund --ignore-scripts)
fi
