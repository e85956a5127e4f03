# Sourced by the other scripts: makes .venv in the clone once and installs the package with the extras named in $1.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "keras_vit needs Python 3.11 or newer; set PYTHON to such an interpreter." >&2
    exit 2
}
[ -x .venv/bin/python ] || "$python" -m venv .venv
# What was installed for these very files need not be installed again.
stamp=".venv/installed-$(cat setup.cfg pyproject.toml constraints.txt | cksum | cut -d' ' -f1)$1"
if [ ! -e "$stamp" ]; then
    echo "installing keras_vit$1 into .venv (a few minutes the first time) ..."
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".$1"
    touch "$stamp"
fi
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2}
