#!/bin/sh
# Fills /etc/nginx/templates/*.template with the environment and writes the results to /etc/nginx/conf.d. Only variables
# that are set are replaced, so that nginx's own $variables stay; NGINX_ENVSUBST_FILTER narrows them by a pattern.
set -e
templates=${NGINX_ENVSUBST_TEMPLATE_DIR:-/etc/nginx/templates}
suffix=${NGINX_ENVSUBST_TEMPLATE_SUFFIX:-.template}
output=${NGINX_ENVSUBST_OUTPUT_DIR:-/etc/nginx/conf.d}

[ -d "$templates" ] || exit 0
if [ ! -w "$output" ]; then
	echo "$0: $templates exists, but $output is not writable" >&2
	exit 0
fi
defined=$(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p' | grep -E "${NGINX_ENVSUBST_FILTER:-}" | sed 's/.*/${&}/' | tr '\n' ' ')
find "$templates" -follow -type f -name "*$suffix" | while read -r template; do
	relative=${template#"$templates/"}
	target=$output/${relative%"$suffix"}
	mkdir -p "$(dirname "$target")"
	envsubst "$defined" <"$template" >"$target"
done
