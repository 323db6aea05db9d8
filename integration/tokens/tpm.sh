#!/bin/sh
# tpm.sh DIR COMMAND [ARGUMENT...]
#
# Within enter.sh: starts a software TPM and the resource manager that tpm2-pkcs11 needs in the tree DIR,
# makes a token of it, and runs COMMAND with TOKEN_URI, which names the token, and what the library wants in
# its environment. All of it ends with enter.sh.
set -eu
dir=$1
root=$dir/root
shift
mount -t tmpfs tmpfs "$root/run"
# The bus has to be at the same place in the tree and beside it.
export DBUS_SESSION_BUS_ADDRESS="unix:abstract=kms11-tpm-$$"
export TPM2TOOLS_TCTI=tabrmd:bus_type=session TPM2_PKCS11_TCTI=tabrmd:bus_type=session TPM2_PKCS11_STORE=/run/store
chroot "$root" sh -euc '
	mkdir /run/tpm /run/store
	echo 12345678 >/run/pin
	exec >/run/log 2>&1
	dbus-daemon --session --fork --address="$DBUS_SESSION_BUS_ADDRESS"
	swtpm_setup --tpm2 --tpmstate /run/tpm --create-ek-cert
	swtpm socket --tpm2 --tpmstate dir=/run/tpm --server type=unixio,path=/run/swtpm --ctrl type=unixio,path=/run/swtpm.ctrl \
		--flags not-need-init,startup-clear --daemon
	tpm2-abrmd --allow-root --session --tcti=swtpm:path=/run/swtpm &
	tries=0
	until tpm2_getcap properties-fixed; do
		tries=$((tries + 1))
		[ $tries -lt 100 ]
		sleep 0.1
	done
	tpm2_ptool init
	tpm2_ptool addtoken --pid 1 --label kms11 --sopin 12345678 --userpin 12345678' ||
	{ cat "$root/run/log" >&2; exit 1; }
export TOKEN_URI="pkcs11:token=kms11?module-path=$("$(dirname "$0")/find.sh" pkcs11/libtpm2_pkcs11.so "$root")&pin-source=file:/run/pin"
exec "$@"
