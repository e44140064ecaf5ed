#!/usr/bin/env bash
# Unpacks the source of an earlier commit into target/rolling/before, under a version of its own: cargo takes two packages of one name
# only if their versions differ.
set -euo pipefail
cd "$(dirname "$0")/../.."

commit=$(git rev-parse --verify --quiet "$1^{commit}") || { echo "$1 is no commit of this repository" >&2; exit 1; }
before=target/rolling/before
if [ "$(cat "$before/.commit" 2>/dev/null)" != "$commit" ]; then
    rm -rf "$before"
    mkdir -p "$before"
    # Files are as new as they are unpacked, so that cargo sees that they are others.
    git archive "$commit" | tar -xm -C "$before"
    sed -i 's/^version = "[^"]*"$/version = "0.0.1"/' "$before/Cargo.toml"
    echo "$commit" >"$before/.commit"
fi
# Without it cargo would look for newer versions of everything.
cp Cargo.lock tests/rolling/Cargo.lock
