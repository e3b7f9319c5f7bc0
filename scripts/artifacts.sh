#!/usr/bin/env bash
# Compiles the contracts that Rust deploys and writes ABI and bytecode to contracts/artifacts/NAME.json.
# contracts/test/unit/Artifacts.t.sol holds the committed files against the sources.
# Usage: scripts/artifacts.sh [NAME...]
set -euo pipefail
cd "$(dirname "$0")/../contracts"

# Its own folder: tests may be building beside it.
built=../.state/artifacts

declare -A sources=(
    [Judge]=src/Judge.sol
    [PartJudge]=src/PartJudge.sol
    [ModelRegistry]=src/ModelRegistry.sol
    [Market]=src/Market.sol
    [Disputes]=src/Disputes.sol
    [DigitStore]=src/examples/DigitStore.sol
    [RevertingConsumer]=src/examples/RevertingConsumer.sol
    [ToyJudge]=test/toy/ToyJudge.sol
)
names=("$@")
[ ${#names[@]} -gt 0 ] || names=("${!sources[@]}")
paths=()
for name in "${names[@]}"; do
    paths+=("${sources[$name]:?no contract named $name}")
done

PATH="$PWD/../.state/bin:$PATH" forge build "${paths[@]}" --out "$built" --cache-path "$built/cache"
mkdir -p artifacts
for name in "${names[@]}"; do
    node -e '
        const fs = require("fs");
        const [from, to] = process.argv.slice(1);
        const { abi, bytecode } = JSON.parse(fs.readFileSync(from, "utf8"));
        fs.writeFileSync(to, JSON.stringify({ abi, bytecode: bytecode.object }, null, 1) + "\n");
    ' "$built/$name.sol/$name.json" "artifacts/$name.json"
    echo "artifacts/$name.json"
done
