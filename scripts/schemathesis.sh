#!/usr/bin/env bash
# Installs Schemathesis, which tries the API by its own description, into target/schemathesis; nothing outside is touched.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

wanted=4.32.5
place="${CARGO_TARGET_DIR:-target}/schemathesis"

if [ "$(cat "$place/installed" 2>/dev/null)" = "$wanted" ] && [ -x "$place/bin/schemathesis" ]; then
    echo "Schemathesis $wanted is installed"
    exit 0
fi
echo "installing Schemathesis $wanted into $place"
rm -rf "$place"
mkdir -p "$(dirname "$place")"
python3 -m venv "$place"
"$place/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$wanted"
echo "$wanted" >"$place/installed"
