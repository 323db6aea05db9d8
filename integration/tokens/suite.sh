#!/bin/sh
# suite.sh KIND VERSION [RUNNER]
#
# Runs the suites of packages hsm and ops and the end-to-end tests on one kind of token, a row of
# hsm/hsmtest, of the library KMS11_HSMTEST_MODULE if it has no usual place, on the machine's NSS those of
# the benchmark too, and prints
#
#	token: KIND VERSION: passed N, unsupported M
#
# RUNNER is a program that runs the one after it where the library can be loaded. Unsupported are the
# tests whose token lacks what they are about, by the table of hsm/hsmtest. Any other end of a test is a
# failure. The whole output is in bin/tokens.
set -eu
kind=$1 version=$2 runner=${3:-}
cd "$(dirname "$0")/../.."
export KMS11_HSMTEST="$kind"
out=$PWD/bin/tokens
log=$out/$kind.log
dir=$(mktemp -d "${TMPDIR:-/tmp}/kms11-tokens.XXXXXX")
trap 'rm -rf "$dir"' EXIT
status=0

# make_token prints the URI of an empty token of the script's own: the PIN of it protects nothing.
make_token() {
	echo 12345678 >"$dir/pin"
	case $kind in
	nss*)
		certutil -N -d "sql:$dir" -f "$dir/pin" >&2
		echo "pkcs11:token=NSS%20Certificate%20DB?module-path=$KMS11_HSMTEST_MODULE&pin-source=file:$dir/pin&x-kms11-init=configdir%3D'sql:$dir'%20certPrefix%3D''%20keyPrefix%3D''%20secmod%3D''%20flags%3DnoModDB"
		;;
	*)
		"$dir/kms11" hsm init-token --label end-to-end --pin-file "$dir/pin" --so-pin-file "$dir/pin" ${KMS11_HSMTEST_MODULE:+--module "$KMS11_HSMTEST_MODULE"}
		;;
	esac
}

# lacks prints the key specs that the token does not have.
lacks() {
	case $kind in
	softhsm) echo ML_DSA_44 ML_DSA_65 ML_DSA_87 ML_KEM_512 ML_KEM_768 ML_KEM_1024 ;;
	nss) echo SM2 ECC_SECG_P256K1 ECC_NIST_EDWARDS25519 ML_DSA_44 ML_DSA_65 ML_DSA_87 ML_KEM_512 ML_KEM_768 ML_KEM_1024 ;;
	nss-unstable | kryoptic) echo SM2 ECC_SECG_P256K1 ;;
	opencryptoki) echo SM2 ;;
	esac
}

# The built server on a fresh token, first of all, while there is a free slot.
end_to_end() {
	go build -trimpath -buildvcs=false -o "$dir/kms11.bin" ./cmd/kms11 || return 1
	printf '#!/bin/sh\nexec %s %s "$@"\n' "$runner" "$dir/kms11.bin" >"$dir/kms11"
	chmod +x "$dir/kms11"
	if [ "$kind" = kryoptic ]; then
		printf '[[slots]]\nslot = 1\ndbtype = "sqlite"\ndbargs = "%s"\n' "$dir/kryoptic.sql" >"$dir/kryoptic.conf"
		export KRYOPTIC_CONF="$dir/kryoptic.conf"
	fi
	uri=$(make_token) || return 1
	"$dir/kms11" hsm probe --json --token "$uri" >"$out/$kind.json" || return 1
	KMS11_BINARY=$dir/kms11 KMS11_TOKEN=$uri KMS11_TOKEN_LACKS=$(lacks) \
		go test -v -count=1 -run 'TestServe|TestAWSCLI' ./integration/tokens
}

end_to_end >"$log" 2>&1 || status=$?
# Some libraries have one set of tokens for all processes, so the packages come one after the other.
packages='./hsm ./ops'
# The benchmark finds the library by itself, in its usual place, and so does its own test.
[ "$kind" != nss ] || packages="$packages ./integration/bench"
for package in $packages; do
	go test -v -count=1 -timeout 30m ${runner:+-exec "$runner"} "$package" >>"$log" 2>&1 || status=$?
done
passed=$(grep -c '^--- PASS' "$log" || :)
unsupported=$(grep -c 'unsupported: the token lacks' "$log" || :)
skipped=$(grep -c '^ *--- SKIP' "$log" || :)
if [ "$unsupported" -ne "$skipped" ]; then
	echo "token: $kind: $skipped tests are left out, and only $unsupported say why" >&2
	status=1
fi
echo "token: $kind $version: passed $passed, unsupported $unsupported"
if [ "$status" -ne 0 ]; then
	grep -E '^ *(--- FAIL|FAIL|panic)' "$log" >&2 || tail -n 5 "$log" >&2
	echo "token: $kind: FAILED, see $log" >&2
fi
exit "$status"
