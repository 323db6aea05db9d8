#!/usr/bin/env bash
# with-softhsm.sh COMMAND [ARGUMENT...]
#
# Makes a throwaway SoftHSM2 token, runs COMMAND with SOFTHSM2_CONF and KMS11_TEST_TOKEN (a PKCS#11
# URI with module-path, token and pin-source) in its environment, removes the token, and exits with
# COMMAND's status. INT, TERM and HUP are passed on to COMMAND and its children.
#
# SOFTHSM2_MODULE names the library where it is not in a usual place.
set -eu
umask 077

fail() {
	echo "with-softhsm.sh: $1" >&2
	exit 127
}

[ $# -gt 0 ] || fail "usage: with-softhsm.sh COMMAND [ARGUMENT...]"

here=$(cd "$(dirname "$0")" && pwd)

module=${SOFTHSM2_MODULE:-}
if [ -z "$module" ]; then
	for candidate in \
		/usr/lib/softhsm/libsofthsm2.so \
		/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so \
		/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so \
		/usr/lib64/pkcs11/libsofthsm2.so \
		/usr/lib64/softhsm/libsofthsm2.so \
		/usr/lib/pkcs11/libsofthsm2.so \
		/opt/homebrew/lib/softhsm/libsofthsm2.so \
		/usr/local/lib/softhsm/libsofthsm2.so; do
		if [ -e "$candidate" ]; then
			module=$candidate
			break
		fi
	done
fi
[ -n "$module" ] && [ -e "$module" ] ||
	fail "SoftHSM2 is not installed: run 'make deps', or set SOFTHSM2_MODULE to libsofthsm2.so"
command -v softhsm2-util >/dev/null || fail "softhsm2-util is not installed: run 'make deps'"

dir=$(mktemp -d "${TMPDIR:-/tmp}/kms11-softhsm.XXXXXX")
child=
# The directory goes whatever happens, but not before the command is done with it.
trap 'rm -rf "$dir"' EXIT
for signal in INT TERM HUP; do
	# shellcheck disable=SC2064 # the name of the signal is meant to be filled in now
	trap "[ -z \"\$child\" ] || kill -$signal -- -\"\$child\" 2>/dev/null || :" "$signal"
done

mkdir "$dir/tokens"
sed "s|@TOKENDIR@|$dir/tokens|" "$here/softhsm2.conf.in" >"$dir/softhsm2.conf"
export SOFTHSM2_CONF="$dir/softhsm2.conf"

# The PIN never leaves the directory but for the arguments
# of softhsm2-util, which has no other way to take it.
pin=$(od -An -N8 -tx4 /dev/urandom | tr -d ' \n')
printf '%s\n' "$pin" >"$dir/pin"
softhsm2-util --module "$module" --init-token --free --label kms11-test --so-pin "$pin" --pin "$pin" >/dev/null ||
	fail "softhsm2-util could not make a token"

export KMS11_TEST_TOKEN="pkcs11:token=kms11-test?module-path=$module&pin-source=file:$dir/pin"

# In the background, so that the traps run while it does. Job control gives it a process group to
# signal, and spares it the ignored SIGINT that background commands have otherwise. Standard input
# is kept.
exec 3<&0
set -m
"$@" <&3 3<&- &
child=$!
status=0
exec 2>/dev/null # bash would report how the job ended
wait "$child" || status=$?
# A signal ends wait early; the command's own end is what counts.
while kill -0 "$child" 2>/dev/null; do
	status=0
	wait "$child" || status=$?
done
exit "$status"
