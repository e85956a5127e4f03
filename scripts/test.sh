#!/usr/bin/env bash
# Installs into .venv with the test extra and runs the tests; arguments go to pytest. Usage: scripts/test.sh [-m slow]
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh" "[test]"
exec .venv/bin/python -m pytest "$@"
