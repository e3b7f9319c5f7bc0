#!/usr/bin/env bash
# Runs all tests and counts them by kind. Logs: .state/logs/{solidity,rust,python-*}.log.
# The last line is `N passed, N failed`; the exit status is 0 only where nothing failed and every runner ran.
set -uo pipefail
cd "$(dirname "$0")/.."
logs=.state/logs
mkdir -p "$logs"
results=()

run() { # NAME COMMAND...
    local name=$1 status
    shift
    printf '\n== %s\n' "$name"
    "$@" 2>&1 | tee "$logs/$name.log"
    status=${PIPESTATUS[0]}
    results+=("$name=$status")
}

rust() {
    # Tests start the services and the demo as programs of their own.
    cargo build --workspace || return
    scripts/postgres.sh with cargo test --workspace --no-fail-fast
}

solidity() { (cd contracts && ../.state/bin/forge test --color never); }

run solidity solidity
run rust rust
run python-scripts .state/python/bin/python -m unittest discover -v -s tests/python
run python-models .state/python/bin/python -m unittest discover -v -s models

exec python3 scripts/count_tests.py "$logs" "${results[@]}"
