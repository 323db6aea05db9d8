#!/bin/sh
# Installs what `make test-tokens` needs besides what deps.sh in softhsm-config does: NSS, as the
# second token. Does nothing, and needs no rights, where it is there.
set -eu
if sh "$(dirname "$0")/find.sh" libsoftokn3.so >/dev/null && command -v certutil >/dev/null 2>&1; then exit 0; fi
if ! command -v apt-get >/dev/null 2>&1; then
	echo "token-deps: NSS is missing and this system has no apt-get; on Fedora and RHEL: dnf install nss-softokn nss-tools" >&2
	exit 1
fi
sudo=
if [ "$(id -u)" -ne 0 ]; then sudo=sudo; fi
$sudo apt-get update -qq
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends libnss3 libnss3-tools
