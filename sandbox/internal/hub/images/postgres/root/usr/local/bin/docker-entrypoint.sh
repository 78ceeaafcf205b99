#!/bin/bash
# Starts PostgreSQL, after making its data folder when that is empty. The variables that it reads:
#   POSTGRES_PASSWORD (required for a new folder, unless POSTGRES_HOST_AUTH_METHOD=trust), POSTGRES_USER (postgres),
#   POSTGRES_DB (the user's name), POSTGRES_INITDB_ARGS, POSTGRES_INITDB_WALDIR, POSTGRES_HOST_AUTH_METHOD, PGDATA.
# Each of the first four, and the user and the database, can be given as NAME_FILE: a file that holds the value.
# Scripts in /docker-entrypoint-initdb.d (*.sh, *.sql, *.sql.gz) run once, against the new database.
set -Eeo pipefail

# from_file NAME [DEFAULT] sets NAME from the file that NAME_FILE points to, or to the default when neither is given.
from_file() {
	local name=$1 file_name=${1}_FILE default=${2:-}
	if [ -n "${!name:-}" ] && [ -n "${!file_name:-}" ]; then
		echo "error: $name and $file_name are both set: give one" >&2
		exit 1
	fi
	if [ -n "${!file_name:-}" ]; then
		export "$name=$(<"${!file_name}")"
	else
		export "$name=${!name:-$default}"
	fi
	unset "$file_name"
}

make_folders() {
	mkdir -p "$PGDATA" /var/run/postgresql
	chmod 700 "$PGDATA" || :
	chmod 3775 /var/run/postgresql || :
	if [ "$(id -u)" = 0 ]; then
		find "$PGDATA" ! -user postgres -exec chown postgres {} +
		find /var/run/postgresql ! -user postgres -exec chown postgres {} +
	fi
}

check_password() {
	if [ -z "$POSTGRES_PASSWORD" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ]; then
		cat >&2 <<-'END'
			Error: Database is uninitialized and superuser password is not specified.
			       Set POSTGRES_PASSWORD to a non-empty value, or POSTGRES_HOST_AUTH_METHOD=trust to
			       let everybody in without a password.
		END
		exit 1
	fi
}

make_database() {
	local options=()
	[ -z "${POSTGRES_INITDB_WALDIR:-}" ] || options+=(--waldir "$POSTGRES_INITDB_WALDIR")
	eval "initdb --username=\"\$POSTGRES_USER\" --pwfile=<(printf '%s\n' \"\$POSTGRES_PASSWORD\") \"\${options[@]}\" $POSTGRES_INITDB_ARGS"
	printf '\nhost all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-$(postgres -C password_encryption)}" >>"$PGDATA/pg_hba.conf"
}

# ask runs SQL on the temporary server, which listens on its socket only.
ask() { psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --no-password "$@"; }

run_scripts() {
	local file
	for file in /docker-entrypoint-initdb.d/*; do
		case $file in
		*.sh) if [ -x "$file" ]; then echo "running $file" && "$file"; else echo "sourcing $file" && . "$file"; fi ;;
		*.sql) echo "running $file" && ask --dbname "$POSTGRES_DB" -f "$file" ;;
		*.sql.gz) echo "running $file" && gunzip -c "$file" | ask --dbname "$POSTGRES_DB" ;;
		*) [ ! -e "$file" ] || echo "ignoring $file" ;;
		esac
	done
}

fill_database() {
	PGPASSWORD=$POSTGRES_PASSWORD
	export PGPASSWORD
	pg_ctl -D "$PGDATA" -o "-c listen_addresses='' -p 5432" -w start
	if [ "$POSTGRES_DB" != postgres ]; then
		ask --dbname postgres --set db="$POSTGRES_DB" <<<'CREATE DATABASE :"db" ;'
	fi
	run_scripts
	pg_ctl -D "$PGDATA" -m fast -w stop
	unset PGPASSWORD
	echo 'PostgreSQL init process complete; ready for start up.'
}

main() {
	if [ "${1:0:1}" = - ]; then set -- postgres "$@"; fi
	if [ "$1" = postgres ]; then
		make_folders
		# As root nothing goes on: PostgreSQL refuses to.
		if [ "$(id -u)" = 0 ]; then exec gosu postgres "$BASH_SOURCE" "$@"; fi
		if [ ! -s "$PGDATA/PG_VERSION" ]; then
			from_file POSTGRES_PASSWORD
			from_file POSTGRES_USER postgres
			from_file POSTGRES_DB "$POSTGRES_USER"
			from_file POSTGRES_INITDB_ARGS
			check_password
			make_database
			fill_database
		else
			echo 'PostgreSQL Database directory appears to contain a database; Skipping initialization'
		fi
	fi
	exec "$@"
}

main "$@"
