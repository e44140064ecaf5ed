"""Compares checkov's findings (JSON on standard input) with those that infra/checkov.yaml explains: neither may have more."""

import json
import re
import sys
from pathlib import Path

CONFIG = Path(__file__).with_name("checkov.yaml")


def main() -> int:
    results = json.load(sys.stdin)["results"]
    excused = set(re.findall(r"^  - (CKV\w+)$", CONFIG.read_text(encoding="utf-8"), re.MULTILINE))
    failed, skipped = results["failed_checks"], results["skipped_checks"]
    found = {check["check_id"] for check in failed}
    for check in failed:
        if check["check_id"] not in excused:
            print(check["check_id"], check["check_name"], check["resource"], sep="  ")
    for check in sorted(excused - found):
        print(f"{check}  is excused in {CONFIG.name}, and nothing is found")
    for check in skipped:
        print(check["check_id"], check["resource"], check["check_result"]["suppress_comment"].strip(), sep="  ")
    print(
        f"checkov: {len(results['passed_checks'])} passed, {len(failed)} excused for {len(excused)} reasons, {len(found - excused)} unexplained"
    )
    return int(found != excused)


if __name__ == "__main__":
    sys.exit(main())
