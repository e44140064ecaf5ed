"""The local stack: `up`, `call`, `status`, `key`, `down`. See infra/README.md."""

import argparse
import sys
from pathlib import Path

from keys import key_hash, new_key
from steps import StepFailed, explain
from workspace import Workspace

REPOSITORY = Path(__file__).resolve().parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(prog="stack.py", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, about in (
        ("up", "start everything, or bring it up to date"),
        ("call", "place a call that nobody answers and show the webhooks"),
        ("status", "show what runs"),
        ("down", "end and remove what `up` started"),
    ):
        command = commands.add_parser(name, help=about)
        command.add_argument("--dir", type=Path, default=REPOSITORY / ".local", help="folder of the stack (default: .local)")
        if name == "up":
            command.add_argument("--cloud-only", action="store_true", help="only the cloud: no simulator, agent, inbox, webhook")
            command.add_argument("--bin-dir", type=Path, default=REPOSITORY / "target" / "lambda", help="where the binaries are")
            command.add_argument("--template", type=Path, default=REPOSITORY / "template.yaml")
            command.add_argument("--stack-name", default="easyconnect")
            command.add_argument("--owner", type=int, metavar="PID", help="end the stack when this process has ended")
            command.add_argument("--pbxs", type=int, choices=range(1, 9), default=1, metavar="N", help="simulated PBXs, each with an agent")
            command.add_argument("--param", action="append", default=[], metavar="NAME=VALUE", help="template parameter")
    commands.add_parser("key", help="make an API key and its hash")
    arguments = parser.parse_args()

    try:
        return run(arguments)
    except StepFailed as failure:
        print(explain(failure), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. What was started keeps running: `make up` goes on, `make down` ends it.", file=sys.stderr)
        return 130


def run(arguments: argparse.Namespace) -> int:
    if arguments.command == "key":
        key = new_key()
        print(f"API key (shown only now):       {key}")
        print(f"for parameter AdminKeyHashes:   {key_hash(key)}")
        return 0

    workspace = Workspace(arguments.dir)
    if arguments.command == "up":
        # Only `up` needs the AWS SDK; the others also work without .venv.
        try:
            import up
        except ImportError as error:
            raise StepFailed(f"{error} (in {sys.executable}).", hint="make up, which uses the tools in .venv") from error

        parameters = dict(up.parameter(text) for text in arguments.param)
        return up.up(
            workspace,
            template=arguments.template,
            bin_dir=arguments.bin_dir.resolve(),
            stack_name=arguments.stack_name,
            overrides=parameters,
            cloud_only=arguments.cloud_only,
            owner=arguments.owner,
            pbxs=arguments.pbxs,
        )
    import operate

    return {"call": operate.call, "status": operate.status, "down": operate.down}[arguments.command](workspace)


if __name__ == "__main__":
    sys.exit(main())
