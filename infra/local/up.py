"""`up`: from built binaries to a running stack, step by step. Every step leaves alone what is already as it should be."""

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

import processes
from artifacts import architecture, find_binary, private_copy
from deploy import Cloud
from keys import key_hash, new_key
from steps import StepFailed, step
from workspace import Workspace, write_file

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
REGION = "us-east-1"
# ministack takes this key as the account's root user. It is valid nowhere else.
ROOT = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}
PBX_PASSWORD = "local-demo"
READY_SECONDS = 60.0
# Variable of stack.env: output of the template.
OUTPUTS = {
    "EVENTS_QUEUE_URL": "EventsQueueUrl",
    "EVENTS_DLQ_URL": "EventsDlqUrl",
    "DELIVERIES_QUEUE_URL": "DeliveriesQueueUrl",
    "DELIVERIES_DLQ_URL": "DeliveriesDlqUrl",
    "LANES_QUEUE_URL": "LanesQueueUrl",
    "COMMANDS_QUEUE_URL": "CommandsQueueUrl",
    "COMMANDS_QUEUE_URLS": "CommandsQueueUrls",
    "EXCHANGE_TABLE": "ExchangeTable",
    "STATE_TABLE": "StateTable",
    "API_FUNCTION": "ApiFunctionName",
    "FANOUT_FUNCTION": "FanoutFunctionName",
    "DELIVER_FUNCTION": "DeliverFunctionName",
    "LANES_FUNCTION": "LanesFunctionName",
    "AGENT_POLICY_ARN": "AgentPolicyArn",
}


def parameter(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise StepFailed(f"--param {text} is not NAME=VALUE.", hint="for example --param LogLevel=debug")
    return name, value


def up(
    workspace: Workspace,
    *,
    template: Path,
    bin_dir: Path,
    stack_name: str,
    overrides: Mapping[str, str],
    cloud_only: bool,
    owner: int | None,
    pbxs: int,
) -> int:
    """All of it. The stack ends with the process `owner`, if there is one."""
    begun = time.monotonic()
    workspace.create()
    with workspace.locked():
        workspace.env_file.unlink(missing_ok=True)
        _forget_leftovers(workspace)
        if owner is not None:
            _guard(workspace, owner)
        variables = _Up(workspace, template, bin_dir, stack_name).run(overrides, 0 if cloud_only else pbxs)
        write_file(workspace.env_file, "".join(f"{name}={_quoted(value)}\n" for name, value in variables.items()))
    print(f"\nReady after {time.monotonic() - begun:.1f} s.")
    if not cloud_only:
        _print_invitation(workspace, variables)
    return 0


class _Up:
    """One run of `up`: what the steps share."""

    def __init__(self, workspace: Workspace, template: Path, bin_dir: Path, stack_name: str) -> None:
        self._workspace = workspace
        self._template = template
        self._bin_dir = bin_dir
        self._stack_name = stack_name

    def run(self, overrides: Mapping[str, str], pbxs: int) -> dict[str, str]:
        """All steps in order; returns what goes to stack.env. Without PBXs there is only the cloud."""
        programs = ["easyconnect-agent", "pbx-sim", "seed"] if pbxs else []
        copies = self._workspace.root / "bin"
        binaries = {name: private_copy(find_binary(self._bin_dir, name), copies, name) for name in programs}

        with step("cloud") as current:
            endpoint = self._start_cloud()
            current.detail = f"ministack at {endpoint}"
        with step("front door") as current:
            url = self._start_server("front-door", ["--upstream", str(self._workspace.run / "upstream.json")])
            current.detail = url
        key = self._demo_key()
        with step("deploy") as current:
            parameters = {
                "Architecture": architecture(),
                "AdminKeyHashes": key_hash(key),
                "PublicUrl": url,
                "WebhookAllowedCidrs": "127.0.0.1/32",
                "WebhookAllowHttp": "true",
                **overrides,
            }
            outputs, agent_key = self._deploy(endpoint, parameters)
            current.detail = f"{self._template.name} as stack {self._stack_name}"

        variables = {
            "EASYCONNECT_URL": url,
            "EASYCONNECT_APIKEY": key,
            "STACK_NAME": self._stack_name,
            "AWS_ENDPOINT_URL": endpoint,
            **ROOT,
            **{variable: outputs[output] for variable, output in OUTPUTS.items()},
        }
        if agent_key:
            variables |= {"AGENT_AWS_ACCESS_KEY_ID": agent_key["id"], "AGENT_AWS_SECRET_ACCESS_KEY": agent_key["secret"]}
        if pbxs:
            variables |= self._start_demo(binaries, variables, pbxs)
        return variables

    def _start_cloud(self) -> str:
        folder = self._workspace.root / "cloud"
        environment = {
            **ROOT,
            # The functions inherit this environment, so this is also how they find the cloud.
            "AWS_ENDPOINT_URL": "http://127.0.0.1:{port}",
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": "{port}",
            "AUTH": "true",
            # It would listen on all interfaces.
            "IOT_MTLS_ENABLED": "0",
            "LAMBDA_EXECUTOR": "local",
            # It removes containers of other instances at its start if it finds Docker.
            "DOCKER_HOST": f"unix://{folder}/no-docker",
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "STATE_DIR": str(folder / "state"),
            "S3_DATA_DIR": str(folder / "s3"),
            "LOG_LEVEL": "INFO",
            "PYTHONUNBUFFERED": "1",
        }
        script = HERE / "cloud.py"
        command = [sys.executable, str(script), "--fd", "{fd}"]
        process = processes.ensure(self._workspace, "cloud", command, env=environment, files=[script], serves=True)
        endpoint = f"http://127.0.0.1:{process.port}"
        self._await("ministack answers", "cloud", lambda: _get(f"{endpoint}/_ministack/health"))
        return endpoint

    def _start_server(self, name: str, arguments: list[str]) -> str:
        """Starts one of our own small servers. It accepts connections from its first moment, so there is nothing to wait for."""
        script = HERE / f"{name.replace('-', '_')}.py"
        command = [sys.executable, str(script), "--fd", "{fd}", *arguments]
        process = processes.ensure(self._workspace, name, command, files=[script], serves=True)
        return f"http://127.0.0.1:{process.port}"

    def _deploy(self, endpoint: str, parameters: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str] | None]:
        session = boto3.Session(ROOT["AWS_ACCESS_KEY_ID"], ROOT["AWS_SECRET_ACCESS_KEY"], region_name=REGION)
        cloud = Cloud(session, endpoint)
        try:
            outputs = cloud.deploy(self._stack_name, self._template, self._bin_dir, parameters)
            agent_key = None
            if user := outputs.get("AgentUserName"):
                agent_key = cloud.access_key(user, self._workspace.recall("agent_key"))
                self._workspace.remember("agent_key", agent_key)
        except ClientError as error:
            raise StepFailed(f"The deployment was refused: {error}") from error
        except BotoCoreError as error:
            raise StepFailed(f"The deployment failed: {error}", log=self._workspace.log_file("cloud")) from error
        upstream = {
            "host": "127.0.0.1",
            "port": int(endpoint.rpartition(":")[2]),
            "api_host": f"{outputs['ApiId']}.execute-api.localhost",
        }
        write_file(self._workspace.run / "upstream.json", json.dumps(upstream))
        return outputs, agent_key

    def _demo_key(self) -> str:
        path = self._workspace.root / "demo.key"
        if not path.exists():
            write_file(path, new_key())
        return path.read_text(encoding="ascii")

    def _start_demo(self, binaries: Mapping[str, Path], variables: Mapping[str, str], pbxs: int) -> dict[str, str]:
        """Everything around the cloud: PBXs, an agent beside each, and a receiver of webhooks."""
        with step("inbox") as current:
            inbox = self._start_server("inbox", [])
            current.detail = inbox
        with step("pbx-sim") as current:
            pbx = self._start_pbx(binaries["pbx-sim"], pbxs)
            # The first one is called as the simulator calls its own.
            addresses = {"master": pbx["ws"], **pbx["pbxs"]}
            current.detail = ", ".join(str(address) for address in addresses.values())
        agents = {"agent" if name == "master" else f"agent-{name}": name for name in addresses}
        with step("agent" if pbxs == 1 else "agents"):
            for process in processes.all_recorded(self._workspace):
                if process.name.startswith("agent") and process.name not in agents:
                    processes.stop(self._workspace, process)
            for process_name, name in agents.items():
                own = {"url": addresses[name], "app": pbx["app"], "password": PBX_PASSWORD, **({"id": name} if pbxs > 1 else {})}
                self._start_agent(binaries["easyconnect-agent"], process_name, own, variables)
        with step("webhook") as current:
            current.detail = self._seed(binaries["seed"], inbox, variables)
        with step("ready") as current:
            status = self._await_online(variables, pbxs)
            current.detail = f"the API reports {status['state']}"
        return {
            "WEBHOOK_INBOX": inbox,
            "PBX_SIM_URL": str(pbx["ws"]),
            "PBX_SIM_WSS_URL": str(pbx["wss"]),
            "PBX_SIM_CERT_SHA256": str(pbx["certSha256"]),
            "PBX_SIM_CONTROL": str(pbx["control"]),
            "PBX_SIM_APP": str(pbx["app"]),
            "PBX_SIM_PASSWORD": PBX_PASSWORD,
        }

    def _start_pbx(self, binary: Path, pbxs: int) -> dict[str, Any]:
        ports = self._workspace.run / "pbx-sim.json"
        command = [str(binary), "--ports-file", str(ports), "--password", PBX_PASSWORD, "--pbxs", str(pbxs)]
        processes.ensure(self._workspace, "pbx-sim", command, files=[binary], reports_in=ports)
        return self._await("the simulator is ready", "pbx-sim", lambda: _json(ports.read_bytes() if ports.exists() else None))

    def _start_agent(self, binary: Path, name: str, pbx: Mapping[str, Any], variables: Mapping[str, str]) -> None:
        if "AGENT_AWS_ACCESS_KEY_ID" not in variables:
            raise StepFailed("The agent has no IAM user.", hint="leave the parameter CreateAgentUser at true, or use --cloud-only")
        config = self._workspace.root / f"{name}.toml"
        sections = {
            "agent": {"name": name.replace("agent", "local", 1), "state_dir": str(self._workspace.root / name)},
            "pbx": pbx,
            "aws": {
                "region": REGION,
                "endpoint_url": variables["AWS_ENDPOINT_URL"],
                "events_queue_url": variables["EVENTS_QUEUE_URL"],
                "commands_queue_urls": json.loads(variables["COMMANDS_QUEUE_URLS"]),
                "exchange_table": variables["EXCHANGE_TABLE"],
            },
            # Several stacks run side by side.
            "health": {"listen": "127.0.0.1:0"},
        }
        # A JSON string is also a TOML string.
        lines = [
            line
            for section, values in sections.items()
            for line in (f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()), "")
        ]
        write_file(config, "\n".join(lines))
        credentials = {
            "AWS_ACCESS_KEY_ID": variables["AGENT_AWS_ACCESS_KEY_ID"],
            "AWS_SECRET_ACCESS_KEY": variables["AGENT_AWS_SECRET_ACCESS_KEY"],
        }
        command = [str(binary), "run", "--config", str(config)]
        processes.ensure(self._workspace, name, command, env=credentials, files=[binary, config])

    def _seed(self, binary: Path, inbox: str, variables: Mapping[str, str]) -> str:
        """The first webhook, unless it is there: the program looks, because a cloud that was started anew has forgotten it."""
        hook = f"{inbox}/hook"
        log = self._workspace.log_file("seed")
        command = [str(binary), "webhook", "--url", hook]
        if processes.run(self._workspace, command, {**ROOT, **variables}, log) != 0:
            raise StepFailed("The first webhook could not be written.", log=log)
        return f"POST {hook}"

    def _await_online(self, variables: Mapping[str, str], pbxs: int) -> dict[str, Any]:
        url = f"{variables['EASYCONNECT_URL']}/status?apikey={variables['EASYCONNECT_APIKEY']}"

        def online() -> dict[str, Any] | None:
            status = _json(_get(url))
            there = [pbx for pbx in status.get("pbxs", []) if pbx["state"] == "online"]
            return status if len(there) >= pbxs else None

        return self._await("the API reports the agents and their PBXs as online", "agent", online)

    def _await(self, what: str, name: str, probe: Callable[[], Any]) -> Any:
        """Waits until the probe finds something, as long as the process behind it runs."""
        deadline = time.monotonic() + READY_SECONDS
        log = self._workspace.log_file(name)
        while not (found := probe()):
            process = processes.recorded(self._workspace, name)
            if not (process and process.alive()):
                raise StepFailed(f"The process `{name}` ended before {what}.", log=log)
            if time.monotonic() > deadline:
                raise StepFailed(f"Waited {READY_SECONDS:.0f} s, but not until {what}.", log=log)
            time.sleep(0.05)
        return found


def _forget_leftovers(workspace: Workspace) -> None:
    """After a reboot, or if someone else ended the local cloud, what depended on it starts anew."""
    earlier = processes.recorded(workspace, "cloud")
    if earlier and not earlier.alive():
        reason = "before the last restart of this machine" if earlier.boot != processes.boot_id() else "a stack that has ended"
        print(f"  {workspace.root} is left over from {reason}: starting anew.")
        for process in processes.all_recorded(workspace):
            processes.stop(workspace, process)


def _guard(workspace: Workspace, owner: int) -> None:
    state = processes.stat(owner)
    if state is None:
        raise StepFailed(f"There is no process {owner} to own this stack.")
    script = HERE / "guard.py"
    command = [sys.executable, str(script), "--pid", str(owner), "--started", str(state.started), "--dir", str(workspace.root)]
    processes.ensure(workspace, "guard", command, files=[script])


def _get(url: str) -> bytes | None:
    """The body of an answer, whatever its status, or None while nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        return error.read()
    except OSError:
        return None


def _json(text: bytes | None) -> dict[str, Any]:
    """The object in the text, or an empty one if it is missing, half written or something else."""
    try:
        value = json.loads(text or b"")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _quoted(value: str) -> str:
    """For `source`: nothing inside is special to a shell."""
    return "'" + value.replace("'", "'\\''") + "'"


def _print_invitation(workspace: Workspace, variables: Mapping[str, str]) -> None:
    shown = workspace.env_file
    # Another folder than the usual one has to be named.
    usual = workspace.root == REPOSITORY / ".local"
    act = (lambda verb: f"make {verb}") if usual else (lambda verb: f"{HERE / 'stack.py'} {verb} --dir {workspace.root}")
    print(f"""
The console, with the key of this stack:
  {variables["EASYCONNECT_URL"]}/console/#key={variables["EASYCONNECT_APIKEY"]}

Try next
  {act("call"):<36} a call to extension 42 that nobody answers
  {variables["WEBHOOK_INBOX"]}/              the webhooks as they arrive
  {variables["EASYCONNECT_URL"]}            the API; its description: /swagger/
  set -a; . {shown}; set +a
  curl "$EASYCONNECT_URL/status?apikey=$EASYCONNECT_APIKEY"
  {act("down"):<36} ends and removes all of it
""")
