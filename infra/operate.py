"""What an operator does with a stack, on AWS and on the local one alike: AWS_ENDPOINT_URL decides. See infra/README.md and infra/runbook.md.

Credentials and region are taken from where AWS's own tools take them. Nothing is changed without being asked for, and what cannot be
undone wants --yes.
"""

import argparse
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "local")]

from botocore.exceptions import BotoCoreError, ClientError  # noqa: E402

from keys import key_hash, new_key  # noqa: E402
from operations import backup, change, erase, look, slots  # noqa: E402
from operations.stack import Failure, Stack  # noqa: E402


def key(_stack: Stack, _arguments: argparse.Namespace) -> int:
    made = new_key()
    print(f"API key (shown only now):       {made}")
    print(f"for parameter AdminKeyHashes:   {key_hash(made)}")
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="operate.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument(
        "--stack", default=os.environ.get("STACK_NAME", "easyconnect"), help="name of the stack (default: STACK_NAME, else easyconnect)"
    )
    verbs = top.add_subparsers(dest="verb", required=True)

    def verb(name, run, about, *options):
        command = verbs.add_parser(name, help=about, description=about)
        for flags, settings in options:
            command.add_argument(*flags, **settings)
        command.set_defaults(run=run)

    def option(*flags, **settings):
        return flags, settings

    yes = option("--yes", action="store_true", help="do it; without it, only say what would be done")
    verb("preflight", look.preflight, "what the account and region have, before a deployment")
    verb("key", key, "make an API key and its hash, for AdminKeyHashes")
    verb("status", look.status, "the stack, its agents, queues and webhooks at a glance")
    verb("agents", look.agents, "agents with their PBX, version, access key's age, problem and what waits on their disks")
    verb(
        "slots",
        slots.slots,
        "the PBXs that the stack serves, and the slot of each",
        option("--free", metavar="PBX", help="free the slot of a PBX that is gone for good"),
        yes,
    )
    verb("webhooks", look.webhooks, "webhooks that are slow, failing, paused or off")
    verb("dlq", look.dead_letters, "what lies in the dead-letter queues; it stays there", option("--limit", type=int, default=10))
    verb(
        "events",
        look.events,
        "follow call events as the API tells them",
        option("--once", action="store_true", help="end when there are no more"),
    )
    verb(
        "access-keys",
        look.access_keys,
        "access keys of the agent's user, with their age",
        option("--new", action="store_true", help="make one; its secret is shown only now"),
        option("--delete", metavar="ID", help="delete one"),
    )
    verb("versions", look.versions, "published versions of the functions, and which one is live")
    verb(
        "redrive",
        change.redrive,
        "bring set-aside messages back to their queue",
        option("queue", choices=("events", "deliveries")),
        option("--limit", type=int, default=10_000, help="how many at most, where AWS's own task is not there"),
    )
    verb(
        "rollback",
        change.rollback,
        "point a function's alias to an earlier version",
        option("function", choices=change.FUNCTIONS),
        option("version"),
    )
    verb(
        "erase",
        erase.erase,
        "overwrite a phone number wherever the tables have it",
        option("number", nargs="+", help="the number, internationally; further ways to write it, such as 0472591687"),
        yes,
    )
    verb("export", backup.export, "write API keys and webhooks, secrets included, to a file", option("file", type=Path))
    verb(
        "import",
        backup.restore,
        "bring exported API keys and webhooks into this stack",
        option("file", type=Path),
        option("--overwrite", action="store_true"),
    )
    verb("delete", change.delete, "delete the access keys of the agent's user, then the stack; the tables stay", yes)
    verb(
        "adopt",
        change.adopt,
        "make a stack of this name around tables that an earlier one has left; then deploy as usual",
        option("--exchange", required=True, metavar="TABLE"),
        option("--state", required=True, metavar="TABLE"),
        yes,
    )
    return top


def main(given: list[str] | None = None) -> int:
    arguments = parser().parse_args(given)
    try:
        return arguments.run(Stack(arguments.stack), arguments)
    except Failure as failure:
        print(failure, file=sys.stderr)
    except (ClientError, BotoCoreError) as error:
        print(f"AWS: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
