# Functions for a throw-away PostgreSQL on a free port of loopback, to be sourced by the scripts here.
# start_postgres exports WAXWING_TEST_POSTGRES and puts PostgreSQL's programs on the PATH; stop_postgres removes all.
# shellcheck shell=bash

postgres_folder=
postgres_pid=

# Where initdb is: Debian keeps the programs of each version in a folder of its own.
find_postgres() {
    local folder
    for folder in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V -r) $(pg_config --bindir 2>/dev/null) \
        "$(dirname "$(command -v initdb 2>/dev/null || echo /none)")"; do
        [ -x "$folder/initdb" ] && [ -x "$folder/postgres" ] && { echo "$folder"; return 0; }
    done
    return 1
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

start_postgres() {
    local programs port password user run=()
    programs=$(find_postgres) || { echo "no initdb found: install PostgreSQL" >&2; return 1; }
    export PATH="$programs:$PATH"
    postgres_folder=$(mktemp -d "${TMPDIR:-/tmp}/waxwing-postgres.XXXXXX")
    password=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
    (umask 077; echo "$password" > "$postgres_folder/password")
    if [ "$(id -u)" = 0 ]; then # PostgreSQL refuses to run as root
        user=$(id -un postgres 2>/dev/null || echo nobody)
        chown -R "$user" "$postgres_folder"
        run=(setpriv "--reuid=$user" "--regid=$(id -g "$user")" --clear-groups)
    fi
    (cd "$postgres_folder" && "${run[@]}" "$programs/initdb" -D data -U waxwing --auth=scram-sha-256 \
        --pwfile=password --encoding=UTF8 --locale=C --no-sync > initdb.log 2>&1) ||
        { cat "$postgres_folder/initdb.log" >&2; stop_postgres; return 1; }
    port=$(free_port)
    # Nothing here outlives the run, so nothing needs to reach the disc.
    (cd "$postgres_folder" && exec "${run[@]}" "$programs/postgres" -D data -p "$port" -c listen_addresses=127.0.0.1 \
        -c unix_socket_directories= -c max_connections=300 -c fsync=off -c full_page_writes=off \
        > postgres.log 2>&1 < /dev/null) &
    postgres_pid=$!
    export WAXWING_TEST_POSTGRES="postgres://waxwing:$password@127.0.0.1:$port/postgres"
    for _ in $(seq 100); do
        psql -qXAt -d "$WAXWING_TEST_POSTGRES" -c 'SELECT 1' > /dev/null 2>&1 && return 0
        kill -0 "$postgres_pid" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$postgres_folder/postgres.log" >&2
    stop_postgres
    return 1
}

stop_postgres() {
    [ -z "$postgres_pid" ] || { kill -INT "$postgres_pid" 2>/dev/null; wait "$postgres_pid" 2>/dev/null; }
    [ -z "$postgres_folder" ] || rm -rf "$postgres_folder"
    postgres_pid='' postgres_folder=''
    unset WAXWING_TEST_POSTGRES
}
