"""The real template in the local cloud, with functions that do nothing: what an operator does needs none."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import boto3

from stackfile import REPOSITORY

UP = REPOSITORY / "infra/local/stack.py"
OPERATE = REPOSITORY / "infra/operate.py"


class LocalStack:
    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="easyconnect-operate-"))
        self.root = self.folder / "stack"
        for name in ("api", "fanout", "deliver"):
            program = self.folder / "bin" / name
            program.parent.mkdir(exist_ok=True)
            shutil.copy(Path(__file__).with_name("nothing.py"), program)
        self.environment: dict[str, str] = {}

    def up(self, *parameters: str) -> str:
        """Deploys; a second time with other parameters it is an update."""
        given = [part for parameter in parameters for part in ("--param", parameter)]
        command = [sys.executable, UP, "up", "--cloud-only", "--dir", self.root, "--bin-dir", self.folder / "bin"]
        output = run([*command, "--owner", str(os.getpid()), *given], {})
        lines = (self.root / "stack.env").read_text(encoding="utf-8").splitlines()
        self.environment = {name: value.strip("'") for name, value in (line.split("=", 1) for line in lines)}
        return output

    def down(self) -> None:
        subprocess.run([sys.executable, UP, "down", "--dir", self.root], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def operate(self, *arguments: Any, code: int = 0) -> str:
        return run([sys.executable, OPERATE, *map(str, arguments)], self.environment, code)

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            region_name=self.environment["AWS_REGION"],
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
        )


def run(command: list[Any], environment: dict[str, str], code: int = 0) -> str:
    """Runs it to its end and returns what it printed; it has to end with this code."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "EASYCONNECT_", "STACK_"))}
    done = subprocess.run(
        [str(part) for part in command], env={**kept, **environment}, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False,
    )  # fmt: skip
    # A refused template would be thousands of lines.
    assert done.returncode == code, f"{command[1:4]} ended with {done.returncode}\n{done.stdout[:1500]} … {done.stdout[-1500:]}"
    return done.stdout
