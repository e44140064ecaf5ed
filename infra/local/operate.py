"""What can be done with a running stack: `call`, `status`, `down`."""

import json
import shlex
import time
import urllib.request
from typing import Any

import processes
from steps import StepFailed
from workspace import Workspace

CALLER, EXTENSION = "+32472591687", "42"
RINGING_SECONDS = 2.0
WEBHOOK_SECONDS = 15.0


def call(workspace: Workspace) -> int:
    """Places a call from outside, lets it ring, hangs up, and shows which webhooks arrived."""
    variables = _variables(workspace)
    control, inbox = variables.get("PBX_SIM_CONTROL"), variables.get("WEBHOOK_INBOX")
    if not (control and inbox):
        raise StepFailed("This stack has no simulator: it was started with --cloud-only.", hint="make up")

    known = len(_request("GET", f"{inbox}/received"))
    print(f"{CALLER} calls extension {EXTENSION} …", flush=True)
    _request("POST", f"{control}/call", {"from": CALLER, "to": EXTENSION})
    time.sleep(RINGING_SECONDS)
    print(f"{CALLER} hangs up. Webhooks:", flush=True)
    _request("POST", f"{control}/hangup", {"extension": CALLER})

    shown = 0
    deadline = time.monotonic() + WEBHOOK_SECONDS
    while time.monotonic() < deadline:
        arrived = _request("GET", f"{inbox}/received")[known:]
        for request in arrived[shown:]:
            print(f"  {_in_short(request)}", flush=True)
        shown = len(arrived)
        if any(_event(request).get("status") == "disconnected" for request in arrived):
            print(f"All of it: {inbox}/")
            return 0
        time.sleep(0.1)
    raise StepFailed(
        f"`disconnected` did not arrive within {WEBHOOK_SECONDS:.0f} s.",
        log=workspace.log_file("agent"),
        hint=f"the logs in {workspace.log}; make status",
    )


def status(workspace: Workspace) -> int:
    """Shows the processes and the addresses. Exit code 0 only if everything runs and `up` has ended well."""
    running = processes.all_recorded(workspace)
    for process in running:
        state = f"runs as {process.pid}" if process.alive() else "has ended"
        port = f" on port {process.port}" if process.port else ""
        print(f"  {process.name:<12} {state}{port}")
    if not running:
        print(f"  Nothing runs in {workspace.root}.")
    complete = workspace.env_file.is_file()
    if complete:
        variables = _variables(workspace)
        for name in ("EASYCONNECT_URL", "WEBHOOK_INBOX", "PBX_SIM_CONTROL", "AWS_ENDPOINT_URL"):
            if name in variables:
                print(f"  {name} = {variables[name]}")
    return 0 if complete and running and all(process.alive() for process in running) else 1


def down(workspace: Workspace) -> int:
    """Ends every process of the stack and removes its folder."""
    if not workspace.run.is_dir():
        print(f"Nothing to do: there is no stack in {workspace.root}.")
        return 0
    with workspace.locked():
        # The agents say goodbye to the PBX and the cloud, so they go before them.
        for process in sorted(processes.all_recorded(workspace), key=lambda process: not process.name.startswith("agent")):
            processes.stop(workspace, process)
            print(f"  {process.name} ended")
        workspace.remove()
    print(f"  {workspace.root} removed")
    return 0


def _variables(workspace: Workspace) -> dict[str, str]:
    try:
        lines = workspace.env_file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise StepFailed(f"There is no running stack in {workspace.root}.", hint="make up") from error
    return {name: "".join(shlex.split(value)) for name, _, value in (line.partition("=") for line in lines)}


def _request(method: str, url: str, body: dict[str, Any] | None = None) -> Any:
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
    except OSError as error:
        raise StepFailed(f"{method} {url}: {error}", hint="make status shows what runs; make up starts what is missing") from error
    return json.loads(text) if text.strip() else None


def _event(request: dict[str, Any]) -> dict[str, Any]:
    """The event of a recorded webhook: the body of a POST, the query of a GET."""
    return request["body"] if isinstance(request["body"], dict) else request["query"]


def _in_short(request: dict[str, Any]) -> str:
    event = _event(request)
    parties = " -> ".join(
        f"{event.get(side) or '?'}" + (f" ({event[name]})" if event.get(name) else "")
        for side, name in (("from", "fromName"), ("to", "toName"))
    )
    connected = event.get("connected") in (True, "yes")
    seconds = event.get("totalTime")
    details = [f"connected={'yes' if connected else 'no'}"]
    if isinstance(seconds, int) and seconds >= 0:
        details.append(f"after {seconds} s")
    return f"{request['receivedAt'][11:19]}  {event.get('status', '?'):<13} {parties}  {', '.join(details)}"
