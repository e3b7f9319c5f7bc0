#!/usr/bin/env bash
# A private, throw-away Postgres cluster for this checkout, or DATABASE_URL where that is set.
#
#   scripts/postgres.sh start          start it if it does not run; prints its URL
#   scripts/postgres.sh url            prints the URL of the running cluster
#   scripts/postgres.sh hold           start, print the URL, keep it until stdin closes; the last holder stops it
#   scripts/postgres.sh with CMD...    run CMD under `hold`, with DATABASE_URL set
#   scripts/postgres.sh stop           stop it and remove its data
#
# It listens on a free port of 127.0.0.1, with a random password; the data need not survive a power cut.
# Clusters of several checkouts do not touch each other.
set -euo pipefail
source "$(dirname "$0")/lib.sh"

HERE="$STATE/postgres"
BIN=$(cat "$STATE/stamps/postgres" 2>/dev/null || true)

# Postgres refuses to run as root; the data then belong to the account that the Debian package made.
if [ "$(id -u)" = 0 ]; then as_owner=(runuser -u postgres --); else as_owner=(); fi

running() { [ -f "$HERE/url" ] && "${as_owner[@]}" "$BIN/pg_ctl" status -D "$(<"$HERE/data")" >/dev/null 2>&1; }

# Locks are passed on to children; the server must not keep ours.
quiet() { (cd / && exec "$@" 7>&- 8>&- </dev/null); }

make_cluster() {
    local data="$HERE/cluster"
    remove_cluster
    mkdir -p "$data"
    if [ ${#as_owner[@]} -gt 0 ]; then
        # A checkout below a private home is out of the account's reach: keep the data beside it.
        if ! "${as_owner[@]}" test -x "$data"; then
            rmdir "$data"
            data=$(mktemp -d "${TMPDIR:-/tmp}/touchstone-postgres.XXXXXX")
        fi
        chown postgres: "$data"
    fi
    printf '%s' "$data" >"$HERE/data"
    # 64 hexadecimal digits: nothing to quote in a URL or a shell.
    head -c 32 /dev/urandom | sha256sum | cut -d' ' -f1 >"$HERE/password"
    chmod 700 "$data"
    quiet "${as_owner[@]}" "$BIN/initdb" -D "$data" -U touchstone -A scram-sha-256 --pwfile=/dev/fd/6 \
        -E UTF8 --locale=C --no-sync >"$STATE/logs/initdb.log" 2>&1 6<"$HERE/password" \
        || die "initdb failed (see .state/logs/initdb.log)" "set DATABASE_URL to a Postgres of your own"
}

remove_cluster() {
    [ ! -f "$HERE/data" ] || rm -rf "$(<"$HERE/data")"
    rm -rf "$HERE/cluster" "$HERE"/{data,url,password}
}

start() {
    local port attempt
    running && return
    [ -n "$BIN" ] || die "set-up has not found Postgres yet" "run scripts/setup.sh"
    make_cluster
    for attempt in 1 2 3 4 5 6 7 8 9 10; do
        # Below the range that the kernel gives to outgoing connections.
        port=$((15432 + (RANDOM * 32768 + RANDOM) % 16000))
        quiet "${as_owner[@]}" "$BIN/pg_ctl" start -w -t 60 -s -D "$(<"$HERE/data")" -l "$(<"$HERE/data")/server.log" \
            -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=300 \
                -c fsync=off -c full_page_writes=off -c synchronous_commit=off -c shared_buffers=64MB" \
            >"$STATE/logs/postgres.log" 2>&1 || continue
        printf 'postgres://touchstone:%s@127.0.0.1:%s/postgres\n' "$(<"$HERE/password")" "$port" >"$HERE/url"
        chmod 600 "$HERE"/{url,password}
        return
    done
    cat "$(<"$HERE/data")/server.log" >>"$STATE/logs/postgres.log" 2>/dev/null || true
    die "Postgres did not start in $attempt attempts (see .state/logs/postgres.log)" "set DATABASE_URL to a Postgres of your own"
}

stop() {
    ! running || quiet "${as_owner[@]}" "$BIN/pg_ctl" stop -s -m immediate -D "$(<"$HERE/data")" >>"$STATE/logs/postgres.log" 2>&1
    remove_cluster
}

# Lock 8 orders starts and stops; lock 7, shared, is held by everybody who uses the cluster.
# The kernel drops a lock with its process, so that no kill can leave the count wrong.
locked() {
    exec 8>"$HERE/lock"
    flock 8
    "$@"
    exec 8>&-
}
acquire() {
    start
    exec 7>"$HERE/users"
    flock -s 7
}
release() { if flock -n -x 7; then stop; fi; }

usage() { sed -n '2,/^set -/s/^# \{0,1\}//p' "$0" >&2; exit 2; }

verb=${1:-}
[ $# -eq 0 ] || shift
case "$verb" in start | url | hold | with | stop) ;; *) usage ;; esac

if [ -n "${DATABASE_URL:-}" ]; then
    case "$verb" in
        with) exec "$@" ;;
        stop) ;;
        *) printf '%s\n' "$DATABASE_URL" ;;
    esac
    [ "$verb" != hold ] || cat >/dev/null
    exit
fi

mkdir -p "$HERE" "$STATE/logs"
case "$verb" in
    start) locked start && cat "$HERE/url" ;;
    url) if running; then cat "$HERE/url"; else die "the cluster does not run" "scripts/postgres.sh start"; fi ;;
    hold)
        locked acquire
        cat "$HERE/url"
        # Ends with the holder, however it ends. Ctrl-C reaches us too; the holder decides when we go.
        trap '' INT
        cat >/dev/null
        locked release
        ;;
    with)
        [ $# -gt 0 ] || usage
        locked acquire
        status=0
        # Ctrl-C ends CMD, and then us in good order.
        trap : INT
        DATABASE_URL=$(<"$HERE/url") "$@" || status=$?
        locked release
        exit "$status"
        ;;
    stop) locked stop ;;
esac
