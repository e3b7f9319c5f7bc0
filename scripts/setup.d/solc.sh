# .state/bin/solc: scripts/solc.cjs over the compiler built to WebAssembly, from npm.

if ! stamped solc "$SOLC_VERSION $SOLC_SHA256"; then
    say "fetching solc $SOLC_VERSION"
    source "$ROOT/scripts/setup.d/foundry.sh" # for npm_archive
    solc_archive=$(npm_archive solc "$SOLC_VERSION" "$SOLC_SHA256")
    mkdir -p "$STATE/solc"
    tar -xzf "$solc_archive" -C "$STATE/solc" --strip-components=1 package/soljson.js
    rm -rf "$STATE/npm.tmp"
    ln -sfn ../../scripts/solc.cjs "$STATE/bin/solc"
    stamp solc "$SOLC_VERSION $SOLC_SHA256"
fi
