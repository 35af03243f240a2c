#!/usr/bin/env bash
# Checks licences, advisories and sources of all dependencies. Compiles cargo-deny first where it is missing
# (minutes), so it is not part of scripts/test.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny
cargo deny --locked --all-features check --config .cargo/deny.toml "$@"
