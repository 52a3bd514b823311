#!/bin/sh
# Makes this machine ready for `make demo` and `make test`: Debian's database server and tools where
# they are missing, and the locked Python packages in .venv and, for the emulator, beside it. Tells
# what it installs; does nothing when all is there. Names given to it are further programs wanted:
# the bench has rivals to install, and `make check` needs checkov and asl-validator.
set -eu
cd "$(dirname "$0")/.."

# Debian's mariadb-install-db and the scripts of a venv do not work below one.
case $PWD in
  *[[:space:]]*)
    echo "the path of this folder has a space in it ($PWD): move it to one without" >&2
    exit 1
    ;;
esac

wanted=$(cat .python-version)

# The Python to make .venv with, if there is one. A pyenv shim may be there without the version
# behind it, and Debian's python3 without venv, so every candidate is asked; of pyenv's own versions
# the newest comes first.
find_python() {
  versions=${PYENV_ROOT:-$HOME/.pyenv}/versions
  for candidate in "python$wanted" \
    $(ls -d "$versions/$wanted".*/bin/python3 2>/dev/null | sort -rV) python3; do
    if command -v "$candidate" >/dev/null 2>&1 &&
      "$candidate" -c "import sys, venv, ensurepip; sys.exit('%d.%d' % sys.version_info[:2] != '$wanted')" 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
}

missing=
[ -x .venv/bin/python ] || [ -n "$(find_python)" ] || missing="$missing python$wanted-venv"
[ -x /usr/sbin/mariadbd ] || command -v mariadbd >/dev/null 2>&1 || missing="$missing mariadb-server"
command -v mariadb-dump >/dev/null 2>&1 || missing="$missing mariadb-client"
command -v pigz >/dev/null 2>&1 || missing="$missing pigz"
command -v curl >/dev/null 2>&1 || missing="$missing curl"
command -v jq >/dev/null 2>&1 || missing="$missing jq"
checkov= asl_validator=
for program in "$@"; do
  case $program in
    checkov) checkov=wanted ;;
    asl-validator)
      asl_validator=wanted
      command -v npm >/dev/null 2>&1 || missing="$missing npm"
      ;;
    *) command -v "$program" >/dev/null 2>&1 || missing="$missing $program" ;;
  esac
done
if [ -n "$missing" ]; then
  command -v apt-get >/dev/null 2>&1 || {
    echo "install these first:$missing (this is no Debian or Ubuntu)" >&2
    exit 1
  }
  sudo=
  [ "$(id -u)" = 0 ] || sudo=sudo
  echo "installing with apt-get:$missing"
  $sudo apt-get -qq update
  case $missing in
    *python*) apt-cache show "python$wanted-venv" >/dev/null 2>&1 || {
      echo "Python $wanted with venv is needed, and this system has no package of it:" \
        "install it first (pyenv can)" >&2
      exit 1
    } ;;
  esac
  # Unquoted on purpose: a list of names.
  $sudo env DEBIAN_FRONTEND=noninteractive \
    apt-get -qq install -y --no-install-recommends $missing >/dev/null
fi

if [ ! -x .venv/bin/python ]; then
  python=$(find_python)
  if [ -z "$python" ]; then
    echo "Python $wanted with venv is needed and was not found:" \
      "install it (apt: python$wanted-venv; or pyenv)" >&2
    exit 1
  fi
  echo "making .venv with $("$python" --version)"
  "$python" -m venv .venv
fi

# What is locked in the file $2, in the environment $1; again when the file changed.
install_locked() {
  stamp=$(sha256sum < "$2" | cut -d' ' -f1)
  [ "$(cat "$1/installed" 2>/dev/null)" != "$stamp" ] || return 0
  echo "installing the locked Python packages of $2 into $1"
  [ -x "$1/bin/python" ] || .venv/bin/python -m venv "$1"
  # What is never imported need not be compiled: most of it.
  "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
    --require-hashes -r "$2"
  echo "$stamp" > "$1/installed"
}

# Side by side: each keeps one processor busy.
install_locked .venv requirements-dev.txt &
packages=$!
install_locked .local/emulator-env requirements-emulator.txt
[ -z "$checkov" ] || install_locked .local/checkov-env requirements-checkov.txt
wait "$packages"

# The same of npm's packages.
install_locked_by_npm() {
  stamp=$(sha256sum < "$2/package-lock.json" | cut -d' ' -f1)
  [ "$(cat "$1/installed" 2>/dev/null)" != "$stamp" ] || return 0
  echo "installing the locked npm packages of $2 into $1"
  mkdir -p "$1"
  cp "$2/package.json" "$2/package-lock.json" "$1"
  npm --prefix "$1" ci --silent --no-audit --no-fund --ignore-scripts
  echo "$stamp" > "$1/installed"
}
[ -z "$asl_validator" ] || install_locked_by_npm .local/asl-validator local/asl-validator
