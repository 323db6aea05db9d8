#!/usr/bin/env bash
# run.sh [TREE]
#
# Runs the suites of packages hsm and ops and the end-to-end test on every kind of token that is
# installed, NSS of the tree that unstable.sh made included, and prints for each
#
#	token: NAME VERSION: passed N, unsupported M
#
# Unsupported are the tests whose token lacks what they are about, by the table of hsm/hsmtest. Any
# other end of a test is a failure. The whole output is in bin/tokens.
set -eu
tree=${1:-}
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
out=bin/tokens
mkdir -p "$out"
out=$(cd "$out" && pwd)
failed=0

# suite NAME VERSION RUNNER...: the tests, with the environment as it is.
suite() {
	local name=$1 version=$2 status=0
	shift 2
	local exec=()
	[ $# -eq 0 ] || exec=(-exec "$1")
	go test -v -count=1 -timeout 30m "${exec[@]}" ./hsm ./ops >"$out/$name.log" 2>&1 || status=$?
	# On SoftHSM2 the end-to-end tests are those of `make integration`.
	[ "$name" = softhsm ] || end_to_end "$name" "$@" >>"$out/$name.log" 2>&1 || status=$?
	local passed unsupported skipped
	passed=$(grep -c '^--- PASS' "$out/$name.log" || :)
	unsupported=$(grep -c 'unsupported: the token lacks' "$out/$name.log" || :)
	skipped=$(grep -c '^--- SKIP' "$out/$name.log" || :)
	if [ "$unsupported" -ne "$skipped" ]; then
		echo "token: $name: $skipped tests are left out, and only $unsupported say why" >&2
		status=1
	fi
	echo "token: $name $version: passed $passed, unsupported $unsupported"
	if [ "$status" -ne 0 ]; then
		grep -E '^(--- FAIL|FAIL|panic)' "$out/$name.log" >&2 || :
		echo "token: $name: FAILED, see $out/$name.log" >&2
		failed=1
	fi
}

# end_to_end NAME [RUNNER]: the built server on a fresh token.
end_to_end() {
	local name=$1 dir status=0
	dir=$(mktemp -d "${TMPDIR:-/tmp}/kms11-tokens.XXXXXX")
	go build -trimpath -buildvcs=false -o "$dir/kms11.bin" ./cmd/kms11 || return 1
	if [ $# -gt 1 ]; then
		printf '#!/bin/sh\nexec %s %s "$@"\n' "$2" "$dir/kms11.bin" >"$dir/kms11"
	else
		printf '#!/bin/sh\nexec %s "$@"\n' "$dir/kms11.bin" >"$dir/kms11"
	fi
	chmod +x "$dir/kms11"
	# A token of the script's own: PINs of throwaway tokens protect nothing.
	echo 12345678 >"$dir/pin"
	certutil -N -d "sql:$dir" -f "$dir/pin" || return 1
	KMS11_BINARY=$dir/kms11 KMS11_TOKEN=$(uri "$name" "$dir") KMS11_TOKEN_LACKS=$(lacks "$name") \
		go test -v -count=1 ./integration/tokens || status=$?
	"$dir/kms11" hsm probe --json --token "$(uri "$name" "$dir")" >"$out/$name.json" || status=$?
	rm -rf "$dir"
	return $status
}

uri() {
	echo "pkcs11:token=NSS%20Certificate%20DB?module-path=${KMS11_HSMTEST_MODULE:-$nss}&pin-source=file:$2/pin&x-kms11-init=configdir%3D'sql:$2'%20certPrefix%3D''%20keyPrefix%3D''%20secmod%3D''%20flags%3DnoModDB"
}

lacks() {
	case $1 in
	nss) echo SM2 ECC_SECG_P256K1 ECC_NIST_EDWARDS25519 ML_DSA_44 ML_DSA_65 ML_DSA_87 ML_KEM_512 ML_KEM_768 ML_KEM_1024 ;;
	nss-unstable) echo SM2 ECC_SECG_P256K1 ;;
	esac
}

suite softhsm "$(dpkg-query -W -f '${Version}' libsofthsm2 2>/dev/null || echo '?')"

nss=
for candidate in /usr/lib/x86_64-linux-gnu/libsoftokn3.so /usr/lib/aarch64-linux-gnu/libsoftokn3.so /usr/lib64/libsoftokn3.so; do
	if [ -e "$candidate" ]; then nss=$candidate; break; fi
done
if [ -n "$nss" ]; then
	KMS11_HSMTEST=nss suite nss "$(dpkg-query -W -f '${Version}' libnss3 2>/dev/null || echo '?')"
else
	echo "token: nss: not installed; run 'make token-deps'"
fi
if [ -n "$tree" ] && [ -e "$tree/run" ]; then
	tree=$(cd "$tree" && pwd)
	module=$(ls "$tree"/root/usr/lib/*-linux-gnu/libsoftokn3.so)
	PATH=$tree/bin:$PATH KMS11_HSMTEST=nss-unstable KMS11_HSMTEST_MODULE=$module \
		suite nss-unstable "$(dpkg-query --admindir="$tree/root/var/lib/dpkg" -W -f '${Version}' libnss3)" "$tree/run"
else
	echo "token: nss-unstable: not installed; run 'make unstable-chroot' as root"
fi
exit $failed
