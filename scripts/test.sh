#!/usr/bin/env bash
# Installs into .venv with the test extra and runs the tests; arguments go to pytest. Usage: scripts/test.sh [-m slow]
# Two processes share the files of tests: much of a test's time is one thread starting, tracing or converting. They keep
# the order of the files, whose first takes longest.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh" "[test]"
exec .venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder "$@"
