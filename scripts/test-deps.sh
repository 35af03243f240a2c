#!/usr/bin/env bash
# Installs the Debian packages that the tests call, and only those that are missing; then the D1 engine.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# command:package — sqlite3 restores our dumps, zstd unpacks them, strace counts durable steps, setpriv ends servers
# with their test, npm brings the D1 engine.
needed=(cc:gcc sqlite3:sqlite3 zstd:zstd strace:strace setpriv:util-linux npm:npm)

missing=()
for pair in "${needed[@]}"; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -eq 0 ]; then
    exec bash scripts/d1-engine.sh
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "error: missing ${missing[*]}, and this is neither root nor has sudo" >&2
        echo "hint: as root, apt-get install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi
if ! command -v apt-get >/dev/null; then
    echo "error: missing ${missing[*]}, and there is no apt-get to install them with" >&2
    exit 1
fi
echo "installing ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}"
exec bash scripts/d1-engine.sh
