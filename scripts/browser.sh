#!/usr/bin/env bash
# Installs from npm what drives Debian's chromium in the tests of the dashboard, into the target folder, in the versions
# of tests/it/browser/package-lock.json. Does nothing where it is there already. The Node that it runs on is the one of
# scripts/d1-engine.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

source=tests/it/browser
target=$(cargo metadata --no-deps --offline --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
folder=$target/browser
lock=$(sha256sum "$source/package-lock.json" | cut -d ' ' -f 1)
if [ "$(cat "$folder/installed" 2>/dev/null)" = "$lock" ]; then
    exit 0
fi
echo "installing the browser's driver into $folder"
mkdir -p "$folder"
cp "$source/package.json" "$source/package-lock.json" "$source/.npmrc" "$folder/"
# No package's own scripts run, and no browser is downloaded.
(cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
echo "$lock" >"$folder/installed"
