#!/usr/bin/env bash
# Make the virtual environment of the lock file and install the project into it, editable.
# With uv where it is installed, else with venv and pip.
set -euo pipefail
venv=$1

fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

if [ -x "$venv/bin/python" ] && ! fits "$venv/bin/python"; then
    echo "$venv has a Python that is not 3.11 to 3.13; making it anew."
    rm -rf "$venv"
fi

# Of an editable install nobody compiles the project itself.
compile_project() { "$venv/bin/python" -m compileall -q reconciler_dagster migrations; }

python=
for candidate in python3.11 python3.12 python3.13 python3 python; do
    if command -v "$candidate" >/dev/null && fits "$candidate"; then
        python=$candidate
        break
    fi
done

if command -v uv >/dev/null && uv --version >/dev/null 2>&1; then
    echo "Installing with uv ..."
    # uv fetches a Python of its own where the machine has none that fits.
    [ -x "$venv/bin/python" ] || uv venv --quiet --python "${python:-3.11}" "$venv"
    # Compiled now, as pip does: every run of Dagster is a process that imports all of it, and
    # where bytecode is not written at run time that would take 5 s instead of 2 s each time.
    uv pip install --quiet --compile-bytecode --python "$venv/bin/python" -r requirements.lock
    uv pip install --quiet --python "$venv/bin/python" --no-deps --editable .
    compile_project
    exit
fi

if [ -z "$python" ]; then
    echo "No Python 3.11, 3.12 or 3.13 was found: install one of them, or uv (docs.astral.sh/uv)." >&2
    exit 1
fi
echo "Installing with $python and pip ..."
if [ ! -x "$venv/bin/python" ]; then
    "$python" -m venv "$venv" || {
        rm -rf "$venv"
        echo "$python cannot make a virtual environment: install its venv package" \
            "(Debian: apt install $("$python" -c 'import sys; print("python3.%d" % sys.version_info[1])')-venv)." >&2
        exit 1
    }
fi
pip() { "$venv/bin/python" -m pip --disable-pip-version-check --no-input --quiet "$@"; }
pip install -r requirements.lock
pip install --no-deps --editable .
compile_project
