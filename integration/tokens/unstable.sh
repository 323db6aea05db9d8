#!/bin/sh
# unstable.sh DIR
#
# Makes a tree of Debian unstable in DIR, for the newer NSS and OpenSSL in it, with two wrappers beside
# it: DIR/run runs a program of this machine with the tree's C library and what that loads, and
# DIR/bin/openssl is the tree's. It needs root and the network, and about 500 MB. A tree that is there
# already is left as it is.
set -eu
[ $# -eq 1 ] || { echo "usage: unstable.sh DIR" >&2; exit 2; }
dir=$1
if [ -e "$dir/run" ]; then exit 0; fi
if ! command -v debootstrap >/dev/null 2>&1; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap
fi
mkdir -p "$dir/bin"
dir=$(cd "$dir" && pwd)
# shellcheck disable=SC2086 # without DEBIAN_MIRROR debootstrap takes its own default
debootstrap --variant=minbase --include=libnss3,openssl sid "$dir/root" ${DEBIAN_MIRROR:-}
lib=$(cd "$dir/root/usr/lib" && echo *-linux-gnu)
loader=$(ls "$dir"/root/usr/lib/"$lib"/ld-linux-*.so.* | head -n 1)
cat >"$dir/bin/openssl" <<OPENSSL
#!/bin/sh
exec $loader --library-path $dir/root/usr/lib/$lib $dir/root/usr/bin/openssl "\$@"
OPENSSL
cat >"$dir/run" <<RUN
#!/bin/sh
exec $loader --library-path $dir/root/usr/lib/$lib "\$@"
RUN
chmod +x "$dir/bin/openssl" "$dir/run"
