#!/usr/bin/env bash
# Writes coordinator/.sqlx anew: what the checked queries need to compile without a database. Run it after changing a query or
# a migration; `scripts/sqlx.sh check` only says whether the committed data is up to date.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${TOUCHSTONE_SQLX_URL:-}" ]; then
    exec scripts/postgres.sh with bash -c 'TOUCHSTONE_SQLX_URL=$DATABASE_URL exec "$0" "$@"' "$0" "$@"
fi

base=${TOUCHSTONE_SQLX_URL%/*}
name=touchstone_sqlx_$$
psql -q "$TOUCHSTONE_SQLX_URL" -c "create database $name"
trap 'psql -q "$TOUCHSTONE_SQLX_URL" -c "drop database $name"' EXIT
for migration in migrations/*.sql; do
    psql -q -v ON_ERROR_STOP=1 "$base/$name" -f "$migration" >/dev/null
done

out=$(mktemp -d)
# Queries are written out by the macros as they expand, so the crate has to be compiled again.
touch coordinator/src/lib.rs
SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$out DATABASE_URL=$base/$name cargo check -q -p touchstone-coordinator
if [ "${1:-}" = check ]; then
    diff -r "$out" coordinator/.sqlx || { echo "coordinator/.sqlx is out of date: run scripts/sqlx.sh" >&2; exit 1; }
else
    rm -rf coordinator/.sqlx
    mv "$out" coordinator/.sqlx
    chmod 755 coordinator/.sqlx
fi
