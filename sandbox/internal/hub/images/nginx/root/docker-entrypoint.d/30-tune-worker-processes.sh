#!/bin/sh
# With NGINX_ENTRYPOINT_WORKER_PROCESSES_AUTOTUNE, as many workers as there are processors that may be used.
set -e
[ -n "${NGINX_ENTRYPOINT_WORKER_PROCESSES_AUTOTUNE:-}" ] && [ -w /etc/nginx/nginx.conf ] || exit 0
sed -i -E "s/^(\s*worker_processes\s+).*;/\1$(nproc);/" /etc/nginx/nginx.conf
