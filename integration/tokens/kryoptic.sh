#!/bin/sh
# kryoptic.sh DIR
#
# Builds Kryoptic, in the tree DIR of tree.sh with the compiler, OpenSSL and SQLite that are there, from
# the release of the crate that kryoptic/Cargo.toml pins, as DIR/libkryoptic_pkcs11.so. As root, with the network.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=$(cd "$1" && pwd)
if [ -e "$dir/libkryoptic_pkcs11.so" ] && [ ! "$here/kryoptic/Cargo.toml" -nt "$dir/libkryoptic_pkcs11.so" ]; then exit 0; fi
mkdir -p "$dir/root/opt"
rm -rf "$dir/root/opt/kryoptic"
cp -R "$here/kryoptic" "$dir/root/opt/kryoptic"
# This machine's certificates: it may reach the registry by a proxy that the tree does not know.
bundle=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
[ ! -e "$bundle" ] || cp "$bundle" "$dir/root/opt/certificates.crt"
"$here/enter.sh" "$dir" "$dir/in" sh -euc '
	export CARGO_HOME=/opt/cargo
	[ ! -e /opt/certificates.crt ] || export CARGO_HTTP_CAINFO=/opt/certificates.crt
	cd /opt/kryoptic
	nice cargo build --quiet --release -p kryoptic'
cp "$dir/root/opt/kryoptic/target/release/libkryoptic_pkcs11.so" "$dir/"
