#!/usr/bin/env bash
# Installs what benches/d1_to_s3.rs compares with beside what the tests need: Debian's rclone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/test-deps.sh
if command -v rclone >/dev/null; then
    echo "rclone is installed"
    exit 0
fi
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
echo "installing rclone"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends rclone
