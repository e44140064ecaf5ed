#!/usr/bin/env bash
# What linters say of the templates. `make test` calls it.
set -euo pipefail
cd "$(dirname "$0")/.."

cfn-lint --include-checks I --template template.yaml
# A web ACL for CloudFront exists in one region only.
cfn-lint --include-checks I --regions us-east-1 --template infra/front.yaml

# It has a virtual environment of its own, because its pins clash with those of the other tools.
checkov=${CHECKOV:-.venv/checkov/bin/checkov}
if [ ! -x "$checkov" ]; then
    echo "checkov is not installed: skipped (make test installs it)"
    exit
fi
"$checkov" --framework cloudformation --skip-download --output json --compact --soft-fail -f template.yaml -f infra/front.yaml |
    python3 infra/findings.py
