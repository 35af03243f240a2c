#!/usr/bin/env bash
# Runs every check of this repository; the last lines are the test runner's own summary.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() {
    printf '\n==> [%dm%02ds] %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$1"
}

need_component() { # subcommand, rustup component
    if ! cargo "$1" --version >/dev/null 2>&1; then
        echo "error: \`cargo $1\` is missing" >&2
        echo "hint: rustup component add $2" >&2
        exit 1
    fi
}

step "Tools"
if ! command -v cargo >/dev/null; then
    echo "error: \`cargo\` is missing: install Rust 1.95 or newer" >&2
    exit 1
fi
cargo --version
need_component fmt rustfmt
need_component clippy clippy
bash scripts/test-deps.sh

step "Formatting"
cargo fmt --check

step "Lints"
cargo clippy --all-targets --locked -- -D warnings

step "Documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked

step "Build"
cargo build --all-targets --locked

step "Examples in the documentation"
cargo test --doc --locked --quiet

step "Tests"
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --locked --no-fail-fast
else
    cargo test --lib --bins --tests --locked --no-fail-fast
fi
