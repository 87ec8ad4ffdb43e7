#!/usr/bin/env bash
# An environment of its own for the models of other programs, on top of .venv: see tests_peers/.
set -euo pipefail
cd "$(dirname "$0")/.."
VENV=.venv-peers
wanted=$(sha256sum install/peers.txt | cut -d' ' -f1)
if [ "$(cat "$VENV/installed" 2>/dev/null)" != "$wanted" ]; then
    echo "setup: $VENV"
    rm -rf "$VENV"
    .venv/bin/python -m venv "$VENV"
    site=$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
    (cd .venv/lib/python3*/site-packages && pwd) > "$site/main.pth"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r install/peers.txt
    echo "$wanted" > "$VENV/installed"
fi
