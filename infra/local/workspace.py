"""The folder of one local stack (`.local` unless told otherwise) and what is remembered in it.

    run/<name>.process.json   one record per background process, see processes.py
    run/memory.json           what a second `up` must find again: ports, the agent's access key
    log/<name>.log            output of the background processes
    bin/                      the programs that run, so that a build can replace the ones it made
    agent/, agent.toml, demo.key, cloud/   what the processes themselves keep
    stack.env         variables for shells, tests and people; written last, so its presence means "ready"
"""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Everything `up` may create. `down` removes these and nothing else, so a wrong `--dir` costs no one their files.
OWN_FOLDERS = ("agent", "bin", "cloud", "log", "run")
OWN_FILES = ("agent.toml", "demo.key", "stack.env", "lock")


class Workspace:
    """Paths inside the folder, and small JSON files that are written all or nothing."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.run = self.root / "run"
        self.log = self.root / "log"
        self.env_file = self.root / "stack.env"

    def create(self) -> None:
        """Makes the folder. It holds keys, so others on the machine may not look into it."""
        for folder in (self.root, *(self.root / name for name in OWN_FOLDERS)):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def remove(self) -> None:
        """Removes what `up` created, and the folder itself if nothing else is in it."""
        for name in OWN_FOLDERS:
            shutil.rmtree(self.root / name, ignore_errors=True)
        for name in OWN_FILES:
            (self.root / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.root.rmdir()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One `up` or `down` at a time. The lock ends with the process, so it is never stale."""
        with open(self.root / "lock", "w", encoding="utf-8") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def log_file(self, name: str) -> Path:
        return self.log / f"{name}.log"

    def recall(self, key: str) -> Any:
        """A value of an earlier `up`, or None."""
        return read_json(self.run / "memory.json", {}).get(key)

    def remember(self, key: str, value: Any) -> None:
        memory = read_json(self.run / "memory.json", {})
        memory[key] = value
        write_file(self.run / "memory.json", json.dumps(memory, indent=2))


def read_json(path: Path, default: Any) -> Any:
    """The file's content, or the default if there is no such file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return default


def write_file(path: Path, text: str) -> None:
    """Replaces the file in one step and keeps it private."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as handle:
        handle.write(text)
    draft.replace(path)
