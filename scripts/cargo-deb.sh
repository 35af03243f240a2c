#!/usr/bin/env bash
# Installs cargo-deb, which makes the Debian package, into the target folder. Without optimizations: it takes a minute.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

wanted=3.8.0
target=$(cargo metadata --no-deps --offline --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
place=$target/cargo-deb

if "$place/bin/cargo-deb" --version 2>/dev/null | grep -qwF "$wanted"; then
    echo "cargo-deb $wanted is installed"
    exit 0
fi
echo "installing cargo-deb $wanted into $place"
CARGO_TARGET_DIR=$place/build cargo install --quiet --locked --debug --root "$place" "cargo-deb@$wanted"
rm -rf "$place/build"
