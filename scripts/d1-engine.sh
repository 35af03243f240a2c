#!/usr/bin/env bash
# Installs the real D1 engine (workerd), wrangler and the Node that it needs from npm into the target folder, in the
# versions of tests/it/d1/engine/package-lock.json. Does nothing where they are there already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

source=tests/it/d1/engine
target=$(cargo metadata --no-deps --offline --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
folder=$target/d1-engine
lock=$(sha256sum "$source/package-lock.json" | cut -d ' ' -f 1)
if [ "$(cat "$folder/installed" 2>/dev/null)" = "$lock" ]; then
    exit 0
fi
echo "installing the D1 engine into $folder"
mkdir -p "$folder"
cp "$source/package.json" "$source/package-lock.json" "$source/.npmrc" "$folder/"
# No package's own scripts run. The Node that npm itself runs on may be older than the one that wrangler wants.
(cd "$folder" && npm install --ignore-scripts --no-audit --no-fund --loglevel=error)
echo "$lock" >"$folder/installed"
