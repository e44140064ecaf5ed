"""Ends a stack once the process it was made for has ended, however that one ended. Tests that are killed leave nothing behind."""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from processes import stat

POLL_SECONDS = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--started", type=int, required=True, help="start time of that process, as in /proc")
    parser.add_argument("--dir", type=Path, required=True, help="folder of the stack")
    arguments = parser.parse_args()
    while (owner := stat(arguments.pid)) and owner.started == arguments.started:
        time.sleep(POLL_SECONDS)
    # In a session of its own, because `down` ends this process, too.
    stack = Path(__file__).with_name("stack.py")
    subprocess.Popen([sys.executable, str(stack), "down", "--dir", str(arguments.dir)], start_new_session=True)


if __name__ == "__main__":
    main()
