#!/usr/bin/env bash
# All checks, each to its end, then a summary. `make test` calls it with the tools on PATH and the build command in BUILD.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

summary=()
failed=0

step() {
    local name=$1 begun=$SECONDS
    shift
    echo
    echo "== $name"
    if "$@"; then
        summary+=("ok      $name ($((SECONDS - begun)) s)")
    else
        summary+=("FAILED  $name ($((SECONDS - begun)) s)")
        failed=1
        return 1
    fi
}

tests() {
    # nextest gives each test its own process and time limit; cargo's own runner does when it is not installed.
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --workspace
    else
        cargo test --workspace
    fi
}

step "fmt" cargo fmt --all --check
step "clippy" cargo clippy --workspace --all-targets -- -D warnings
step "templates" infra/check-template.sh
step "operator" python3 -m unittest discover -v -s tests/python/operator -t tests/python/operator
# The end-to-end tests deploy what this builds.
# shellcheck disable=SC2086
step "build" $BUILD && step "tests" tests

echo
echo "== summary"
printf '  %s\n' "${summary[@]}"
exit "$failed"
