"""Progress of `up`: one line per step, and a failure that says what to do next."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path


class StepFailed(Exception):
    """A step that cannot be completed: what happened, where to read more, what to do."""

    def __init__(self, message: str, log: Path | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.log = log
        self.hint = hint


class Step:
    """A running step. Its detail is shown when it has ended."""

    detail = ""


@contextlib.contextmanager
def step(name: str) -> Iterator[Step]:
    """Shows the name at once and the outcome, with the seconds it took, at the end."""
    current, begun = Step(), time.monotonic()
    print(f"  {name:<12}", end=" ", flush=True)
    try:
        yield current
    except BaseException:
        print(f"FAILED after {time.monotonic() - begun:.1f} s", flush=True)
        raise
    print(f"{time.monotonic() - begun:5.1f} s  {current.detail}", flush=True)


def explain(failure: StepFailed) -> str:
    """What a person sees after a failed step."""
    lines = ["", str(failure)]
    if failure.log and failure.log.is_file():
        tail = failure.log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        lines += ["", f"The last lines of {failure.log}:", *(f"  {line}" for line in tail)]
    lines += ["", f"Next: {failure.hint or 'make down, then make up. If it fails again, the log above says why.'}"]
    return "\n".join(lines)
