#!/bin/sh
# Make the virtual environment and put the locked uv into it: requirements/bootstrap.sh PYTHON VENV
# Debian's Python comes without ensurepip (package python3-venv); then pip, uv or apt-get of the system will do.
set -eu
python=$1
venv=$2
here=$(dirname "$0")

say() { printf '%s\n' "$*" >&2; }

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

if ! command -v "$python" >/dev/null 2>&1 || ! new_enough "$python"; then
  for candidate in python3.14 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null 2>&1 && new_enough "$candidate"; then python=$candidate; break; fi
  done
fi
if ! new_enough "$python"; then
  say "Runbell needs Python 3.11 or newer, and '$python' is not. Install one, or name it: make PYTHON=/path/to/python3.11"
  exit 1
fi

locked="--quiet --require-hashes --requirement $here/uv.txt"
# An environment that works is kept: others may be running from it.
if [ -x "$venv/bin/uv" ] && new_enough "$venv/bin/python"; then
  # shellcheck disable=SC2086
  exec "$venv/bin/uv" pip install --python "$venv/bin/python" $locked
fi
if "$python" -c 'import ensurepip' 2>/dev/null; then
  "$python" -m venv --clear "$venv"
elif "$python" -m pip --version >/dev/null 2>&1; then
  "$python" -m venv --clear --without-pip "$venv"
  # shellcheck disable=SC2086
  exec "$python" -m pip --disable-pip-version-check --python "$venv/bin/python" install $locked
elif command -v uv >/dev/null 2>&1; then
  uv venv --quiet --clear --python "$python" "$venv"
  # shellcheck disable=SC2086
  exec uv pip install --python "$venv/bin/python" $locked
elif [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  say "· installing python3-venv (this Python has no ensurepip)"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
  "$python" -m venv --clear "$venv"
else
  say "This Python can't make virtual environments: it has neither ensurepip nor pip."
  say "On Debian or Ubuntu: sudo apt-get install python3-venv    Then run make again."
  exit 1
fi
# shellcheck disable=SC2086
exec "$venv/bin/python" -m pip --disable-pip-version-check install $locked
