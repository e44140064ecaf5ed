#!/usr/bin/env python3
"""Shows that the stories notice: takes one safeguard after the other out of a copy of the source, and tells a story of it, which has to fail.

Each mutation is a text of a file, what takes its place, and the story that it has to break. A text that is no longer there is an error.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPY = ROOT / "target" / "mutations"

MUTATIONS = {
    "a reader passes a number that nobody has filled yet (a check)": (
        "shared/src/feed/reader.rs",
        "return Next::Wait;",
        "self.cursor = gap_end;",
        "polling",
    ),
    "an entry may be put where another one is (a condition)": (
        "shared/src/tables/feed/writing.rs",
        '            .condition_expression("attribute_not_exists(pk)")\n',
        '            .condition_expression("attribute_exists(pk) OR attribute_not_exists(pk)")\n',
        "crashes",
    ),
    "an update is settled, and its number is not written down (a write)": (
        "shared/src/tables/feed/writing.rs",
        "self.note_live(events[event].tag.group, &live).await?;",
        "let _ = live;",
        "updates",
    ),
    "a delivery is sent without a look at its log (a check)": (
        "functions/deliver/src/verdict.rs",
        "_ if is_over(delivery, view.log.as_ref()) => Start::Skip,",
        "_ if is_over(delivery, view.log.as_ref()) && now < Timestamp::UNIX_EPOCH => Start::Skip,",
        "crashes",
    ),
    "a call's next event does not wait for the deliveries of the one before (an order)": (
        "functions/fanout/src/plan.rs",
        "let first_of_call = entry.call().is_none_or(|call| calls.insert(call));\n            first_of_group && first_of_call",
        "let _ = (groups.insert(entry.record.group.as_str()), entry.call().map(|call| calls.insert(call)));\n            true",
        "order",
    ),
    "a delivery that was refused is not tried again (a retry)": (
        "functions/deliver/src/record.rs",
        "Ending::Acknowledged => Ending::Back(wait),",
        "Ending::Acknowledged => { let _ = wait; Ending::Acknowledged }",
        "outages",
    ),
    "an event that could not be fanned out does not go back (a retry)": (
        "functions/fanout/src/plan.rs",
        "self.entries[at].state = RecordState::Failed;",
        "self.entries[at].state = RecordState::Done;",
        "outages",
    ),
    "a command is claimed that somebody else has (a condition)": (
        "shared/src/tables/exchange.rs",
        'updatedAt = :now")\n            .condition_expression("#state = :queued")\n'
        '            .expression_attribute_names("#state", "state")\n            .expression_attribute_names("#token", "token")',
        'updatedAt = :now")\n            .condition_expression("#state = :queued OR #state <> :queued")\n'
        '            .expression_attribute_names("#state", "state")\n            .expression_attribute_names("#token", "token")',
        "commands",
    ),
    "a frame is written however old its command is (a check)": (
        "agent/src/commands/request.rs",
        "!self.open_for(now).is_zero()",
        "!self.open_for(now).is_zero() || self.age_at_claim < Duration::MAX",
        "commands",
    ),
    "a command is written over the one that has its name (a condition)": (
        "shared/src/tables/exchange.rs",
        '.condition_expression("attribute_not_exists(pk) OR expiresAt <= :now")',
        '.condition_expression("attribute_not_exists(pk) OR expiresAt <= :now OR expiresAt > :now")',
        "commands",
    ),
    "what stands behind a parked delivery in its batch is sent by what was read before (a check)": (
        "functions/deliver/src/handler.rs",
        "let read_at = if is_first { read_at } else { Timestamp::MIN };",
        "let read_at = if is_first || read_at > Timestamp::MIN { read_at } else { Timestamp::MIN };",
        "lanes",
    ),
    "who parks does not read the lane again (a check)": (
        "functions/deliver/src/record.rs",
        "Some(webhook) => parked(way(&webhook)),",
        "Some(webhook) if webhook.created_at < 0 => parked(way(&webhook)),\n        Some(_) => Parked::Done,",
        "lanes",
    ),
    "a worker sends what is parked without asking the log (a check)": (
        "functions/deliver/src/worker/sending.rs",
        "if is_over(&parked.delivery, log.as_ref()) {",
        "if is_over(&parked.delivery, log.as_ref()) && now < Timestamp::UNIX_EPOCH {",
        "lanes",
    ),
    "a refusal keeps its webhook in the lane that others share (an order)": (
        "functions/deliver/src/verdict.rs",
        "if moment.tried_for + wait > moment.fast_lane {",
        "if moment.tried_for + wait > moment.fast_lane && moment.jitter > 2.0 {",
        "lanes",
    ),
    "what waits is sent whatever its webhook wants by then (a check)": (
        "functions/deliver/src/worker/tidying.rs",
        "if is_purged || !is_wanted(webhook, &parked.delivery) {",
        "if is_purged || (is_purged && !is_wanted(webhook, &parked.delivery)) {",
        "lanes",
    ),
    "time in which nobody tried is held against the receiver (a check)": (
        "functions/deliver/src/tried.rs",
        "waited.min(planned).max(0)",
        "waited.max(planned.min(0)).max(0)",
        "lanes",
    ),
}


def copy_source() -> None:
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")
    for name in filter(None, files):
        source, copy = ROOT / name, COPY / name
        if source.is_file() and not (copy.is_file() and copy.read_bytes() == source.read_bytes()):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)


def tell(story: str, seeds: int) -> subprocess.CompletedProcess[str]:
    command = ["cargo", "test", "--quiet", "-p", "cloud-sim", "--test", "stories", "--", "--nocapture", story]
    environment = os.environ | {"CARGO_TARGET_DIR": str(COPY / "target"), "STORY_SEEDS": str(seeds)}
    return subprocess.run(command, cwd=COPY, env=environment, capture_output=True, text=True, check=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("only", nargs="*", help="mutations whose name contains one of these")
    arguments = parser.parse_args()
    survivors = 0
    for name, (file, text, other, story) in MUTATIONS.items():
        if arguments.only and not any(part in name for part in arguments.only):
            continue
        copy_source()
        path = COPY / file
        source = path.read_text()
        if source.count(text) != 1:
            print(f"{name}: {file} does not have the text once that is to be replaced", file=sys.stderr)
            return 2
        path.write_text(source.replace(text, other))
        told = tell(story, arguments.seeds)
        output = told.stdout + told.stderr
        if "could not compile" in output:
            print(f"{name}: does not compile\n{output}", file=sys.stderr)
            return 2
        failures = re.findall(r"^(.+ failed with \d+ of \d+ seeds).*", output, re.MULTILINE)
        caught = told.returncode != 0 and bool(failures)
        survivors += not caught
        print(f"{'caught  ' if caught else 'SURVIVES'} {name}: {'; '.join(failures) or 'no story fails'}", flush=True)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
