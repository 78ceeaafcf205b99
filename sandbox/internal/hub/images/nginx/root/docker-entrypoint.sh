#!/bin/sh
# Runs what stands in /docker-entrypoint.d before nginx starts: *.envsh is sourced, executable *.sh is run, in the order
# of their names. NGINX_ENTRYPOINT_QUIET_LOGS silences the report of it.
set -e

say() { [ -n "${NGINX_ENTRYPOINT_QUIET_LOGS:-}" ] || echo "$0: $*"; }

case $1 in
nginx | nginx-debug)
	for file in $(find /docker-entrypoint.d/ -follow -type f | sort -V); do
		case $file in
		*.envsh | *.sh)
			if [ ! -x "$file" ]; then
				say "skipping $file, it is not executable"
			elif [ "${file%.envsh}" != "$file" ]; then
				say "sourcing $file"
				. "$file"
			else
				say "running $file"
				"$file"
			fi
			;;
		*) say "skipping $file, it is no *.sh or *.envsh" ;;
		esac
	done
	say "ready to start"
	;;
esac
exec "$@"
