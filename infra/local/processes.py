"""Background processes that outlive `up`, and ending exactly those again.

A process is ours if the record's start time is still the one in /proc (a process id may be given to a stranger after a reboot
or much later) and, for the processes it started in turn, if they are in its session and carry our mark in their environment.
"""

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from workspace import Workspace, read_json, write_file

# In the environment of everything that `up` starts; its value is the folder of the stack.
MARK = "EASYCONNECT_LOCAL_STACK"
GRACE_SECONDS = 6.0
# The only variables of the caller that reach the processes: a developer's AWS profile must not leak into the local cloud.
INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "RUST_BACKTRACE")


class Stat(NamedTuple):
    """Two of the numbers in /proc/<pid>/stat: start time in ticks since boot, and session."""

    started: int
    session: int


@dataclass(frozen=True)
class Process:
    """One started process, as recorded in `run/<name>.process.json`."""

    name: str
    pid: int
    started: int
    boot: str
    fingerprint: str
    port: int | None

    def alive(self) -> bool:
        return self.boot == boot_id() and stat(self.pid) == Stat(self.started, self.pid)


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def recorded(workspace: Workspace, name: str) -> Process | None:
    """What an earlier `up` started under this name, whether or not it still runs."""
    record = read_json(workspace.run / f"{name}.process.json", None)
    return Process(**record) if record else None


def all_recorded(workspace: Workspace) -> list[Process]:
    names = (path.name.removesuffix(".process.json") for path in workspace.run.glob("*.process.json"))
    return [process for name in sorted(names) if (process := recorded(workspace, name))]


def listen(port: int | None = None) -> socket.socket:
    """A listening socket on the loopback interface, on this port if it is free, else on one that the system picks.

    Servers inherit it, so there is no moment in which another process could take the port.
    """
    for candidate in (port, 0) if port else (0,):
        server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", candidate))
            server.listen(512)
            return server
        except OSError:
            server.close()
    raise OSError("no free port on 127.0.0.1")


def ensure(
    workspace: Workspace,
    name: str,
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    files: Sequence[Path] = (),
    serves: bool = False,
    reports_in: Path | None = None,
) -> Process:
    """The running process of that name, restarted if its command, its environment or the content of `files` has changed.

    `reports_in` is a file that the process writes once it is ready; that of an earlier one is removed before the start.

    One that `serves` inherits a listening socket, on its earlier port if possible. `{fd}` in its arguments and `{port}` in its
    environment stand for that socket.
    """
    env = env or {}
    fingerprint = _fingerprint(argv, files, env)
    if earlier := recorded(workspace, name):
        if earlier.alive() and earlier.fingerprint == fingerprint:
            return earlier
        stop(workspace, earlier)
    if reports_in:
        reports_in.unlink(missing_ok=True)
    server = listen(workspace.recall(f"port.{name}")) if serves else None
    port = server.getsockname()[1] if server else None
    with open(workspace.log_file(name), "ab") as log:
        child = subprocess.Popen(
            [argument.replace("{fd}", str(server.fileno() if server else "")) for argument in argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=_environment(workspace, {key: value.replace("{port}", str(port)) for key, value in env.items()}),
            cwd=workspace.root,
            pass_fds=[server.fileno()] if server else [],
            start_new_session=True,
        )
    state = stat(child.pid)
    process = Process(name, child.pid, state.started if state else 0, boot_id(), fingerprint, port)
    write_file(workspace.run / f"{name}.process.json", json.dumps(asdict(process), indent=2))
    if server:
        server.close()
        workspace.remember(f"port.{name}", port)
    return process


def run(workspace: Workspace, argv: Sequence[str], env: Mapping[str, str], log: Path) -> int:
    """Runs a program to its end and returns its exit code."""
    with open(log, "ab") as output:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=_environment(workspace, env), timeout=60, check=False
        )
    return done.returncode


def _environment(workspace: Workspace, env: Mapping[str, str]) -> dict[str, str]:
    return {key: os.environ[key] for key in INHERITED if key in os.environ} | {MARK: str(workspace.root)} | dict(env)


def _fingerprint(argv: Sequence[str], files: Sequence[Path], env: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps([list(argv), dict(env)], sort_keys=True).encode())
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def stop(workspace: Workspace, process: Process) -> None:
    """Ends the process and everything that it started: asks first, insists after a grace period."""
    for sign, patience in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, GRACE_SECONDS)):
        deadline = time.monotonic() + patience
        for pid in _family(workspace, process):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sign)
        while (family := _family(workspace, process)) and time.monotonic() < deadline:
            time.sleep(0.02)
        if not family:
            break
    (workspace.run / f"{process.name}.process.json").unlink(missing_ok=True)


def _family(workspace: Workspace, process: Process) -> list[int]:
    """The process and its descendants, as far as they still run."""
    if process.boot != boot_id():
        return []
    mark = f"{MARK}={workspace.root}".encode()
    family = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        pid = int(entry)
        state = stat(pid)
        if state is None or state.session != process.pid:
            continue
        with contextlib.suppress(OSError):
            if (pid == process.pid and state.started == process.started) or mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                family.append(pid)
    return family


def stat(pid: int) -> Stat | None:
    """What /proc says about a process, or None if it has ended (also if only its parent has not noticed yet)."""
    try:
        # The second field is the name in brackets and may itself hold spaces and brackets.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else Stat(started=int(fields[19]), session=int(fields[3]))
