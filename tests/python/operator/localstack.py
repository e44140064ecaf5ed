"""The real template in the local cloud, with functions that do nothing: what an operator does needs none."""

import contextlib
import functools
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

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

    @classmethod
    def of(cls, tests: type[unittest.TestCase], *parameters: str) -> "LocalStack":
        """A stack for the tests of a class. It ends behind them."""
        stack = cls()
        tests.addClassCleanup(stack.down)
        stack.up(*parameters)
        return stack

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
        """Runs the operator's tool in this process, because starting it takes longer than what it does."""
        output, given = io.StringIO(), list(map(str, arguments))
        with mock.patch.dict(os.environ, {**own_environment(), **self.environment}, clear=True):
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                try:
                    ended = operator_tool().main(given)
                except SystemExit as end:
                    ended = end.code
        assert ended == code, f"operate.py {given} ended with {ended}\n{output.getvalue()[-1500:]}"
        return output.getvalue()

    def operate_as_a_program(self, *arguments: str) -> str:
        return run([sys.executable, OPERATE, *arguments], self.environment)

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            region_name=self.environment["AWS_REGION"],
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
        )


def own_environment() -> dict[str, str]:
    """The environment without another stack's variables."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "EASYCONNECT_", "STACK_"))}


@functools.cache
def operator_tool() -> Any:
    spec = importlib.util.spec_from_file_location("operate_main", OPERATE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(command: list[Any], environment: dict[str, str], code: int = 0) -> str:
    """Runs it to its end and returns what it printed; it has to end with this code."""
    done = subprocess.run(
        [str(part) for part in command], env={**own_environment(), **environment}, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False,
    )  # fmt: skip
    # A refused template would be thousands of lines.
    assert done.returncode == code, f"{command[1:4]} ended with {done.returncode}\n{done.stdout[:1500]} … {done.stdout[-1500:]}"
    return done.stdout
