#!/bin/sh
# Makes .venv in the project root and puts in it all that a stage needs.
#
#   bootstrap/bootstrap.sh [base|window|test|docs]
#
# base:   what the node, the command line and the demo need.
# window: that, and an OpenCV that can open windows.
# test:   all that, and what training, tests and lint need.
# docs:   .venv-docs instead, with what `make docs` needs.
#
# This script finds a Python and runs make_venv.py with it.
# PYTHON=/path/to/python picks one.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
. "$here/find_python.sh"

# What a candidate lacks, one word each: "version", "venv", "headers".
probe='
import os, sys, sysconfig
if not (3, 10) <= sys.version_info[:2] <= (3, 13):
    print("version"); raise SystemExit
lacks = []
try:
    import venv, ensurepip
except ImportError:
    lacks.append("venv")
if not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")):
    lacks.append("headers")
print("%s-%d.%d" % (",".join(lacks) or "nothing", *sys.version_info[:2]))
'

chosen=
almost=
for python in $(python_candidates "${PYTHON:-}" python3.12 python3.11 python3.10 python3.13 python3); do
    answer=$("$python" -I -c "$probe" 2>/dev/null) || continue
    case $answer in
        nothing-*) chosen=$python; break ;;
        version | "") ;;
        *) almost=${almost:-"$python $answer"} ;;
    esac
done

if [ -z "$chosen" ] && [ -n "$almost" ]; then
    python=${almost% *}
    answer=${almost##* }
    version=${answer##*-}
    packages=
    case $answer in *venv*) packages="$packages python$version-venv" ;; esac
    case $answer in *headers*) packages="$packages python$version-dev" ;; esac
    echo "set-up: $python (Python $version) lacks modules that are needed. Install them with" >&2
    echo "    sudo apt-get install --yes$packages" >&2
    exit 1
fi
if [ -z "$chosen" ]; then
    if [ -n "${PYTHON:-}" ]; then
        echo "set-up: PYTHON=$PYTHON is not a Python 3.10 to 3.13 that runs." >&2
        exit 1
    fi
    echo "set-up: no Python 3.10 to 3.13 that runs was found. Install one with" >&2
    echo "    sudo apt-get install --yes python3 python3-venv python3-dev" >&2
    echo "or name one: make setup PYTHON=/path/to/python3.11" >&2
    exit 1
fi

exec "$chosen" -B -E -s "$here/make_venv.py" "${1:-base}"
