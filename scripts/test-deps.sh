#!/usr/bin/env bash
# Installs what the tests call, and only what is missing: Debian packages, an S3 server, the D1 engine, a browser,
# Schemathesis and cargo-deb.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

install_servers() {
    bash scripts/seaweedfs.sh
    bash scripts/d1-engine.sh
    bash scripts/browser.sh
    bash scripts/schemathesis.sh
    bash scripts/cargo-deb.sh
}

# command:package — curl downloads as a guide says, sqlite3 restores our dumps, zstd unpacks them, strace counts durable
# steps, python3 installs the S3 server and Schemathesis, npm the D1 engine and the browser's driver, setpriv ends both servers with the
# test, rclone fetches from a bucket as a guide says, chromium shows the dashboard, and promtool (of prometheus) reads
# the metrics; script is a terminal, vim saves files as people do, and systemd judges the unit and makes the package's
# user.
needed=(
    cc:gcc curl:curl sqlite3:sqlite3 zstd:zstd strace:strace python3:python3 npm:npm setpriv:util-linux rclone:rclone
    chromium:chromium promtool:prometheus script:bsdutils vim:vim systemd-analyze:systemd
)
# A package is installed into a folder as root would.
[ "$(id -u)" -eq 0 ] || needed+=(fakeroot:fakeroot)

missing=()
for pair in "${needed[@]}"; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
if [ ${#missing[@]} -eq 0 ]; then
    echo "no package to install"
    install_servers
    exit 0
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
install_servers
