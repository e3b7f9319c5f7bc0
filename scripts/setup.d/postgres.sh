# The user's database (DATABASE_URL), or Postgres server programs for the private cluster of scripts/postgres.sh.

find_postgres() { # prints the folder of initdb, pg_ctl and postgres
    local dir
    for dir in "$(pg_config --bindir 2>/dev/null || true)" /usr/lib/postgresql/*/bin "$(dirname "$(command -v initdb || echo /-/-)")"; do
        [ -x "$dir/initdb" ] && [ -x "$dir/pg_ctl" ] && [ -x "$dir/postgres" ] && printf '%s' "$dir" && return
    done
    return 1
}

if [ -z "${DATABASE_URL:-}" ] && ! { [ -f "$STATE/stamps/postgres" ] && [ -x "$(<"$STATE/stamps/postgres")/initdb" ]; }; then
    find_postgres >/dev/null || apt_install postgresql "there are no Postgres server programs, and DATABASE_URL is not set"
    stamp postgres "$(find_postgres)" || die "no initdb after installing postgresql" "set DATABASE_URL to a Postgres of your own"
fi
