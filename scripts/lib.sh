# Shared by the set-up steps; sourced, never run. The caller has `set -euo pipefail`.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
STATE="$ROOT/.state"
# shellcheck source=scripts/pins.env
source "$ROOT/scripts/pins.env"

say() { printf 'setup: %s\n' "$*" >&2; }

# die WHAT REMEDY: what cannot be done, and what the reader can do about it.
die() {
    printf 'setup: %s\n       remedy: %s\n' "$1" "$2" >&2
    exit 1
}

# A stamp holds the key (versions and digests) that a part was made from, and is written last:
# a part is up to date exactly when its stamp holds today's key.
stamped() { [ -f "$STATE/stamps/$1" ] && [ "$(<"$STATE/stamps/$1")" = "$2" ]; }
stamp() {
    mkdir -p "$STATE/stamps"
    printf '%s\n' "$2" >"$STATE/stamps/$1"
}

check_digest() { # FILE SHA256
    local got
    got=$(sha256sum "$1" | cut -d' ' -f1)
    [ "$got" = "$2" ] || die "$(basename "$1") has sha256 $got, expected $2" \
        "fetch it again; if it stays so, the registry serves another file than the one pinned in scripts/pins.env"
}

linux_x86_64() { [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ]; }

# need COMMAND DEBIAN_PACKAGE: make sure that COMMAND exists, by apt-get where we are allowed to.
need() {
    command -v "$1" >/dev/null && return
    apt_install "$2" "the command '$1' is missing"
    command -v "$1" >/dev/null || die "the command '$1' is missing after installing $2" "install it by hand"
}

apt_install() { # PACKAGE WHY
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "$2: installing the Debian package $1"
        { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$1"; } \
            </dev/null >"$STATE/logs/apt.log" 2>&1 \
            || die "$2, and apt-get could not install $1 (see .state/logs/apt.log)" "install $1 by hand"
    else
        die "$2" "install it (Debian: sudo apt-get install $1), then run this again"
    fi
}
