# The compilers and clients that everything else is fetched and built with.

if ! stamped tools 1; then
    need make make
    need c++ g++
    need node nodejs
    need npm npm
    need python3 python3
    python3 -m pip --version >/dev/null 2>&1 || apt_install python3-pip "python3 has no pip"
    command -v cargo >/dev/null || die "cargo is missing" "install Rust: https://rustup.rs"
    stamp tools 1
fi
