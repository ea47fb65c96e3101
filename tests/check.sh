#!/bin/sh
# Style, types and the house's directions. Argument: the folder of the environment's programs.
set -eu
bin=${1:-.venv/bin}
echo "== ruff";         "$bin/ruff" check . && "$bin/ruff" format --check --quiet .
echo "== mypy";         "$bin/mypy"
echo "== import-linter"; "$bin/lint-imports" --no-cache | tail -n 12
