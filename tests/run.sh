#!/bin/sh
# All that CI runs, in the order of cost. Argument: the folder of the environment's programs.
set -eu
# The tests start the archive's processes hundreds of times: compiled once, not each time.
unset PYTHONDONTWRITEBYTECODE
bin=${1:-.venv/bin}
sh tests/check.sh "$bin"
echo "== pytest"
exec "$bin/python" -m pytest -q -n "${PYTEST_WORKERS:-2}" --dist loadfile --no-loadscope-reorder --durations=12 tests
