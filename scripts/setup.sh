#!/usr/bin/env bash
# Brings up what the project needs beyond Rust, Python 3, Node.js and gcc, all of it inside .state/.
#
#   scripts/setup.sh            what building, the demo and the network need
#   scripts/setup.sh python     also the Python environment of the tests and of model authors
#   scripts/setup.sh PART...    only these parts: tools libtorch foundry solc postgres
#
# Safe to run again, and quick then. Versions and digests are in scripts/pins.env.
set -euo pipefail
source "$(dirname "$0")/lib.sh"

base=(tools libtorch foundry solc postgres)
case "$*" in
    "") parts=("${base[@]}") ;;
    python) parts=("${base[@]}" python) ;;
    *) parts=("$@") ;;
esac

mkdir -p "$STATE"/{bin,logs,stamps}
# Two runs at once (`make demo` beside `make test`) take turns.
exec 9>"$STATE/setup.lock"
flock 9

for part in "${parts[@]}"; do
    [ -f "$ROOT/scripts/setup.d/$part.sh" ] || die "there is no part '$part'" "one of: ${base[*]} python"
    source "$ROOT/scripts/setup.d/$part.sh"
done
