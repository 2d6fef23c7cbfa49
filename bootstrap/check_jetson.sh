#!/bin/sh
# Checks refdet for the Jetson as far as possible without one: with Python 3.8, the
# real TensorRT 8.5 and JetPack 5's OpenCV, in build/jetson.
#
#   bootstrap/check_jetson.sh [PYTEST_ARGUMENT ...]
#
# This script finds a Python 3.8 and runs check_jetson.py with it.
# PYTHON38=/path/to/python picks one.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
. "$here/find_python.sh"

candidates() {
    python_candidates "${PYTHON38:-}" python3.8 python3
    if [ -n "${PYTHON38:-}" ]; then return; fi
    for python in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.8*/bin/python3.8 \
        "${XDG_DATA_HOME:-$HOME/.local/share}"/uv/python/cpython-3.8*/bin/python3.8; do
        if [ -x "$python" ]; then printf '%s\n' "$python"; fi
    done
}

probe='import sys, venv, ensurepip; raise SystemExit(sys.version_info[:2] != (3, 8))'
for python in $(candidates); do
    if "$python" -I -c "$probe" 2>/dev/null; then
        exec "$python" "$here/check_jetson.py" "$@"
    fi
done

if [ -n "${PYTHON38:-}" ]; then
    echo "check-jetson: PYTHON38=$PYTHON38 is not a Python 3.8 that runs and can make virtual environments." >&2
else
    echo "check-jetson: no Python 3.8 with venv was found; get one without root by" \
        "\`pip install uv && uv python install 3.8\` or \`pyenv install 3.8\`, or name one:" \
        "make check-jetson PYTHON38=/path/to/python3.8" >&2
fi
exit 1
