#!/usr/bin/env bash
# What takes too long for every change: both judges held against each other on more than a million cases, and a larger sample of mutants.
#
#   scripts/nightly.sh [CASES]    cases of each family and kind of profile, 150,000 unless given
set -euo pipefail
cd "$(dirname "$0")/.."

least=1000000
log=.state/logs/nightly.log
mkdir -p .state/logs
TOUCHSTONE_CASES=${1:-150000} cargo test -p touchstone-protocol --test differential --test differential_enclosure -- --nocapture | tee "$log"
# Lines `NAME: N cases, …`, one a family, kind of profile and sort of damage.
cases=$(sed -nE 's/.*: ([0-9]+) cases,.*/\1/p' "$log" | awk '{ sum += $1 } END { print sum + 0 }')
printf 'nightly: the judges agree on %s cases\n' "$cases"
[ "$cases" -ge "$least" ] || { printf 'nightly: %s cases, expected at least %s: give more per family\n' "$cases" "$least" >&2; exit 1; }
python3 scripts/mutants.py --jobs 2 --sample 60
