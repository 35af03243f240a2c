#!/usr/bin/env bash
# Makes the Debian package and prints where it lies: scripts/deb.sh [PROGRAM]. It builds a release, or packs PROGRAM,
# which was built before; what the package holds is said in Cargo.toml. PATINA_DEB_FAST=1 compresses less.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=$(cargo metadata --no-deps --offline --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
bash scripts/cargo-deb.sh >&2
program=${1:-}
if [ -z "$program" ]; then
    cargo build --profile dist --locked >&2
    program=$target/dist/patina
fi

# A target folder of its own, as cargo-deb takes the program from target/release alone.
stage=$(mktemp -d "$target/deb.XXXXXX")
trap 'rm -rf "$stage"' EXIT
made=$stage/release/package
mkdir -p "$made"
strip --strip-debug -o "$stage/release/patina" "$program"
"$program" man --dir "$made/man" >&2
gzip -9n "$made"/man/*.1
"$program" completions bash >"$made/patina.bash"
"$program" completions zsh >"$made/_patina"
"$program" completions fish >"$made/patina.fish"

version=$("$program" --version | cut -d ' ' -f 2)
date=$(date --utc --rfc-email --date "@${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}")
gzip -9n >"$made/changelog.gz" <<CHANGELOG
patina ($version-1) stable; urgency=medium

  * What is new stands in NEWS.md beside this file.

 -- Patina contributors <noreply@patina.grove.place>  $date
CHANGELOG

mkdir -p "$target/debian"
CARGO_TARGET_DIR=$stage "$target/cargo-deb/bin/cargo-deb" --no-build --no-strip --quiet \
    ${PATINA_DEB_FAST:+--fast} --output "$target/debian/"
