#!/bin/sh
# refused.sh NAME VERSION MODULE RUNNER
#
# Sees that kms11 refuses a token that cannot serve and says why, and that its probe says what is missing;
# prints a line as suite.sh does. RUNNER runs kms11 where MODULE can be loaded. TOKEN_URI is the token;
# without it one is made.
set -eu
name=$1 version=$2 module=$3 runner=$4
cd "$(dirname "$0")/../.."
out=$PWD/bin/tokens
log=$out/$name.log
dir=$(mktemp -d "${TMPDIR:-/tmp}/kms11-tokens.XXXXXX")
trap 'rm -rf "$dir"' EXIT
status=0
go build -trimpath -buildvcs=false -o "$dir/kms11.bin" ./cmd/kms11
printf '#!/bin/sh\nexec %s %s "$@"\n' "$runner" "$dir/kms11.bin" >"$dir/kms11"
chmod +x "$dir/kms11"
uri=${TOKEN_URI:-}
if [ -z "$uri" ]; then
	echo 12345678 >"$dir/pin"
	uri=$("$dir/kms11" hsm init-token --module "$module" --label end-to-end --pin-file "$dir/pin" --so-pin-file "$dir/pin")
fi
"$dir/kms11" hsm probe --json --token "$uri" >"$out/$name.json" 2>"$log" || status=$?
KMS11_BINARY=$dir/kms11 KMS11_TOKEN=$uri go test -v -count=1 -run TestRefused ./integration/tokens >>"$log" 2>&1 || status=$?
echo "token: $name $version: passed $(grep -c '^ *--- PASS: TestRefused/' "$log" || :), unsupported 0; $(sed -n 's/.*refused by init: /refused: /p' "$log")"
if [ "$status" -ne 0 ]; then
	grep -E '^ *(--- FAIL|FAIL|panic)' "$log" >&2 || tail -n 5 "$log" >&2
	echo "token: $name: FAILED, see $log" >&2
fi
exit "$status"
