#!/bin/sh
# Installs what `make test` and `make run` need and the machine lacks: SoftHSM2, a C compiler (the
# PKCS#11 binding is cgo), OpenSSL, against which tests check what the token makes, OpenSC's
# pkcs11-tool, as the owner of an HSM uses it, and curl, which signs requests to the XKS proxy. Does nothing, and needs no rights, where all are there.
set -eu

have() { command -v "$1" >/dev/null 2>&1; }

# The places where with-softhsm.sh looks.
have_softhsm() {
	[ -z "${SOFTHSM2_MODULE:-}" ] || return 0
	for module in \
		/usr/lib/softhsm/libsofthsm2.so \
		/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so \
		/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so \
		/usr/lib64/pkcs11/libsofthsm2.so \
		/usr/lib64/softhsm/libsofthsm2.so \
		/usr/lib/pkcs11/libsofthsm2.so \
		/opt/homebrew/lib/softhsm/libsofthsm2.so \
		/usr/local/lib/softhsm/libsofthsm2.so; do
		if [ -e "$module" ]; then return 0; fi
	done
	return 1
}

have_compiler() { have "${CC:-cc}" || have gcc || have clang; }

if [ -n "${SOFTHSM2_MODULE:-}" ] && [ ! -e "$SOFTHSM2_MODULE" ]; then
	echo "deps: SOFTHSM2_MODULE names $SOFTHSM2_MODULE, which is not there" >&2
	exit 1
fi
softhsm=
compiler=
openssl=
have_softhsm && have softhsm2-util || softhsm=softhsm2
have_compiler || compiler="gcc libc6-dev"
have openssl || openssl=openssl
clients=
have pkcs11-tool || clients=opensc
have curl || clients="$clients curl"
if [ -z "$softhsm$compiler$openssl$clients" ]; then
	exit 0
fi

if have apt-get; then
	sudo=
	if [ "$(id -u)" -ne 0 ]; then
		have sudo || { echo "deps: become root and run: apt-get install $softhsm $compiler $openssl $clients" >&2; exit 1; }
		sudo=sudo
	fi
	echo "deps: installing with apt-get: $softhsm $compiler $openssl $clients"
	$sudo apt-get update -qq
	# shellcheck disable=SC2086 # package names are to be split
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $softhsm $compiler $openssl $clients
	exit 0
fi
cat >&2 <<MISSING
deps: these are missing and this system has no apt-get: ${softhsm:+SoftHSM2 }${compiler:+a C compiler }${openssl:+OpenSSL }$clients
  Fedora, RHEL:  dnf install softhsm gcc openssl opensc curl
  Alpine:        apk add softhsm gcc musl-dev openssl opensc curl
  Arch:          pacman -S softhsm gcc openssl opensc curl
  macOS:         brew install softhsm openssl opensc curl && xcode-select --install
A SoftHSM2 that is elsewhere is named by SOFTHSM2_MODULE=/path/to/libsofthsm2.so
MISSING
exit 1
