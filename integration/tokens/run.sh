#!/bin/sh
# run.sh UNSTABLE BOOKWORM
#
# Runs the suites on every kind of token that is installed: see suite.sh. UNSTABLE and BOOKWORM are trees
# of tree.sh, those of Debian unstable and of Debian 12; whose tokens are left out where they are not
# there. The tokens of Debian 12's tree are those that kms11 has to refuse: see refused.sh. TOKENS, a list
# of names, leaves out all others.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
mkdir -p bin/tokens
failed=0

wanted() { case " ${TOKENS:-$1} " in *" $1 "*) ;; *) return 1 ;; esac }
absent() { echo "token: $1: not installed; run '$2'"; }
version_of() { dpkg-query ${2:+--admindir="$2/root/var/lib/dpkg"} -W -f '${Version}' "$1" 2>/dev/null || echo '?'; }
entered() { [ "$(id -u)" -eq 0 ] || { echo "token: $1: left out: only root can enter the tree"; return 1; }; }

if wanted softhsm; then
	"$here/suite.sh" softhsm "$(version_of libsofthsm2)" || failed=1
fi

if wanted nss; then
	nss=$("$here/find.sh" libsoftokn3.so || :)
	if [ -n "$nss" ]; then
		KMS11_HSMTEST_MODULE=$nss "$here/suite.sh" nss "$(version_of libnss3)" || failed=1
	else
		absent nss 'make token-deps'
	fi
fi

if [ -e "$1/in" ]; then
	tree=$(cd "$1" && pwd)
	nss=$("$here/find.sh" libsoftokn3.so "$tree/root")
	cryptoki=$("$here/find.sh" pkcs11/libopencryptoki.so "$tree/root")
	if wanted nss-unstable; then
		PATH=$tree/bin:$PATH KMS11_HSMTEST_MODULE=$tree/root$nss \
			"$here/suite.sh" nss-unstable "$(version_of libnss3 "$tree")" "$tree/run" || failed=1
	fi
	if wanted kryoptic && [ -e "$tree/libkryoptic_pkcs11.so" ]; then
		PATH=$tree/bin:$PATH KMS11_HSMTEST_MODULE=$tree/libkryoptic_pkcs11.so \
			"$here/suite.sh" kryoptic "$(sed -n 's/^kryoptic = .*"=\([^"]*\)".*/\1/p' "$here/kryoptic/Cargo.toml")" "$tree/run" || failed=1
	fi
	if wanted opencryptoki && entered opencryptoki; then
		KMS11_HSMTEST_MODULE=$cryptoki "$here/enter.sh" "$tree" "$here/opencryptoki.sh" "$tree" \
			"$here/suite.sh" opencryptoki "$(version_of opencryptoki "$tree")" "$tree/in" || failed=1
	fi
else
	absent 'nss-unstable, kryoptic, opencryptoki' 'make unstable-chroot'
fi

if [ -e "$2/in" ]; then
	tree=$(cd "$2" && pwd)
	if wanted opencryptoki-bookworm && entered opencryptoki-bookworm; then
		"$here/enter.sh" "$tree" "$here/opencryptoki.sh" "$tree" "$here/refused.sh" opencryptoki-bookworm \
			"$(version_of opencryptoki "$tree")" "$("$here/find.sh" pkcs11/libopencryptoki.so "$tree/root")" "$tree/in" || failed=1
	fi
	if wanted tpm2-pkcs11 && entered tpm2-pkcs11; then
		"$here/enter.sh" "$tree" "$here/tpm.sh" "$tree" "$here/refused.sh" tpm2-pkcs11 \
			"$(version_of libtpm2-pkcs11-1 "$tree")" "$("$here/find.sh" pkcs11/libtpm2_pkcs11.so "$tree/root")" "$tree/in" || failed=1
	fi
else
	absent 'opencryptoki-bookworm, tpm2-pkcs11' 'make bookworm-chroot'
fi
exit $failed
