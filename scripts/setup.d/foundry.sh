# .state/bin/{anvil,forge,cast}: the native binaries inside Foundry's npm packages.

npm_archive() { # PACKAGE VERSION SHA256: prints the path of the checked archive
    local file
    mkdir -p "$STATE/npm.tmp"
    # Run where no .npmrc or package.json of the project or its parents is in the way.
    file=$(cd "$STATE/npm.tmp" && npm pack --silent "$1@$2" 2>"$STATE/logs/npm.log" | tail -n1) && [ -n "$file" ] \
        || die "npm could not fetch $1@$2 (see .state/logs/npm.log)" "check the network and npm's registry setting"
    check_digest "$STATE/npm.tmp/$file" "$3"
    printf '%s' "$STATE/npm.tmp/$file"
}

foundry_tool() { # NAME SHA256
    local archive
    stamped "$1" "$FOUNDRY_VERSION $2" && return
    linux_x86_64 || die "$1 is fetched for Linux on x86-64 only" \
        "put $1 $FOUNDRY_VERSION at .state/bin/$1 and write '$FOUNDRY_VERSION $2' to .state/stamps/$1"
    say "fetching $1 $FOUNDRY_VERSION"
    archive=$(npm_archive "@foundry-rs/$1-linux-amd64" "$FOUNDRY_VERSION" "$2")
    tar -xzf "$archive" -C "$STATE/npm.tmp" "package/bin/$1"
    chmod 755 "$STATE/npm.tmp/package/bin/$1"
    mv -f "$STATE/npm.tmp/package/bin/$1" "$STATE/bin/$1"
    rm -rf "$STATE/npm.tmp"
    stamp "$1" "$FOUNDRY_VERSION $2"
}

foundry_tool anvil "$ANVIL_SHA256"
foundry_tool forge "$FORGE_SHA256"
foundry_tool cast "$CAST_SHA256"
