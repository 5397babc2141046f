#!/usr/bin/env bash
# What `lint` of CONTRIBUTING.md checks, and that `format` would change nothing. Needs the packages of requirements.txt
# and ltx2cpp's own, and changes no file.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

ruff check .
ruff format --check .
mypy
python tools/check_layers.py
git ls-files -z '*.cpp' '*.h' '*.cu' '*.cuh' | xargs -0 clang-format --dry-run -Werror
echo "lint: clean"
