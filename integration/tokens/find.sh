#!/bin/sh
# find.sh LIBRARY [ROOT]: prints where distributions put a library, below ROOT if there is one, and fails
# where it is not.
for dir in /usr/lib/x86_64-linux-gnu /usr/lib/aarch64-linux-gnu /usr/lib64; do
	if [ -e "${2:-}$dir/$1" ]; then
		echo "$dir/$1"
		exit 0
	fi
done
exit 1
