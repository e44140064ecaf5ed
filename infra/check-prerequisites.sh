#!/usr/bin/env bash
# Says what is missing on this machine before half of a set-up is done.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "$1" >&2; exit 1; }

[ "$(uname -s)" = Linux ] || fail "The local stack runs on Linux (also in WSL or a container)."

command -v python3 >/dev/null || fail "python3 is missing: install Python 3.10 or newer."
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "$(python3 --version) is too old: install Python 3.10 or newer."
python3 -c 'import ensurepip, venv' 2>/dev/null || fail "Python's venv is missing. On Debian and Ubuntu: apt install python3-venv"

minor=$(sed -n 's/^rust-version = "1\.\([0-9]*\).*/\1/p' Cargo.toml)
command -v cargo >/dev/null || fail "cargo is missing: install Rust 1.$minor or newer from https://rustup.rs"
version=$(cargo --version | cut -d' ' -f2)
[ "$(cut -d. -f2 <<<"$version")" -ge "$minor" ] || fail "cargo $version is too old: Rust 1.$minor or newer is needed (rustup update)."
