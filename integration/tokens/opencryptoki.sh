#!/bin/sh
# opencryptoki.sh DIR COMMAND [ARGUMENT...]
#
# Within enter.sh: gives the openCryptoki of the tree DIR empty software tokens in memory, starts its
# slot daemon, which ends with enter.sh, and runs COMMAND.
set -eu
umask 022 # the daemon has a user of its own
root=$1/root
shift
slots='0 1 2 3 4 5 6 7'
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/var/lib/opencryptoki"
mkdir -p "$root/run/opencryptoki"
conf=$root/etc/opencryptoki/opencryptoki.conf
grep '^version' "$conf" >"$root/run/opencryptoki.conf"
for n in $slots; do
	mkdir -p "$root/var/lib/opencryptoki/kms11-test-$n/TOK_OBJ" "$root/run/lock/opencryptoki/kms11-test-$n"
	printf 'slot %s\n{\n\tstdll = libpkcs11_sw.so\n\ttokname = kms11-test-%s\n}\n' "$n" "$n" >>"$root/run/opencryptoki.conf"
done
mount --bind "$root/run/opencryptoki.conf" "$conf"
chroot "$root" sh -euc '
	chgrp -R pkcs11 /var/lib/opencryptoki /run/lock/opencryptoki
	chmod -R 770 /var/lib/opencryptoki /run/lock/opencryptoki
	# Newer versions have a user of their own for the daemon.
	! id pkcsslotd >/dev/null 2>&1 || chown pkcsslotd:pkcs11 /run/opencryptoki
	pkcsslotd'
exec "$@"
