#!/bin/sh
# enter.sh DIR COMMAND [ARGUMENT...]
#
# As root: runs COMMAND of this machine where `DIR/in PROGRAM` runs PROGRAM in the tree that tree.sh made,
# with this directory, the temporary one and Go's at their places. Mounts, processes and shared memory are
# COMMAND's own: what it starts in the tree ends with it, and nothing stays mounted.
set -eu
[ $# -ge 2 ] || { echo "usage: enter.sh DIR COMMAND [ARGUMENT...]" >&2; exit 2; }
[ "$(id -u)" -eq 0 ] || { echo "enter.sh: it takes root to enter $1" >&2; exit 1; }
exec unshare --mount --pid --ipc --fork --kill-child --propagation private sh -euc '
	root=$1/root
	shift
	mount -t proc proc /proc
	mount -t proc proc "$root/proc"
	mount --rbind /dev "$root/dev"
	mount -t tmpfs tmpfs "$root/dev/shm"
	for dir in "${TMPDIR:-/tmp}" "$PWD" "$(go env GOROOT)"; do
		mkdir -p "$root$dir"
		mount --bind "$dir" "$root$dir"
	done
	"$@"' sh "$@"
