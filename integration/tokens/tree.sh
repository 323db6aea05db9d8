#!/bin/sh
# tree.sh SUITE DIR PACKAGE...
#
# As root, with the network: makes a tree of Debian SUITE in DIR/root with these packages, or adds those
# that a tree which is there lacks. Beside it are two wrappers for programs of this machine: DIR/run
# runs one with the tree's C library and libraries and needs no rights; DIR/in runs one below DIR/root
# and is for use within enter.sh. DIR/bin has the tree's openssl. DEBIAN_MIRROR names another mirror.
set -eu
[ $# -ge 2 ] || { echo "usage: tree.sh SUITE DIR PACKAGE..." >&2; exit 2; }
suite=$1
mkdir -p "$2/bin"
dir=$(cd "$2" && pwd)
shift 2
here=$(cd "$(dirname "$0")" && pwd)
missing=
for package; do
	[ -e "$dir/root/usr/share/doc/$package" ] || missing="$missing $package"
done
if [ -x "$dir/in" ] && [ -z "$missing" ]; then exit 0; fi
[ "$(id -u)" -eq 0 ] || { echo "tree.sh: only root can make $dir:$missing" >&2; exit 1; }
if ! command -v debootstrap >/dev/null 2>&1; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap
fi
# shellcheck disable=SC2086 # without DEBIAN_MIRROR debootstrap takes its own default
[ -e "$dir/root/etc/debian_version" ] || debootstrap --variant=minbase "$suite" "$dir/root" ${DEBIAN_MIRROR:-}
lib=$(cd "$dir/root/usr/lib" && echo *-linux-gnu)
loader=$(ls "$dir"/root/usr/lib/"$lib"/ld-linux-*.so.* | head -n 1)
cat >"$dir/run" <<RUN
#!/bin/sh
exec $loader --library-path $dir/root/usr/lib/$lib "\$@"
RUN
cat >"$dir/bin/openssl" <<OPENSSL
#!/bin/sh
exec $dir/run $dir/root/usr/bin/openssl "\$@"
OPENSSL
cat >"$dir/in" <<IN
#!/bin/sh
exec chroot $dir/root /usr/bin/env -C "\$PWD" "\$@"
IN
chmod +x "$dir/run" "$dir/bin/openssl" "$dir/in"
# A mirror may be a copy that is some weeks old. What a package would start stays down: there is no init.
# shellcheck disable=SC2086 # package names are to be split
"$here/enter.sh" "$dir" "$dir/in" sh -c 'cd / && apt-get -o Acquire::Check-Valid-Until=false update -qq &&
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"' sh $missing
