#!/bin/sh
# Starts Redis as the user redis, in /data. `-flag` or `file.conf` as the first word means redis-server.
set -e
case $1 in
-* | *.conf) set -- redis-server "$@" ;;
esac
if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
	find . ! -user redis -exec chown redis {} +
	exec gosu redis "$0" "$@"
fi
# The image serves other containers: without a configuration of its own it is open to them.
if [ "$1" = redis-server ]; then
	case " $* " in
	*.conf\ * | *protected-mode*) ;;
	*) set -- "$@" --protected-mode no ;;
	esac
fi
umask 0077
exec "$@"
