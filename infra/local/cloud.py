"""Runs ministack on a socket that is already open, without two waits that AWS does not have, and with AWS's rights for batches.

`python -m ministack` opens its port itself, which another process may have taken in the meantime.
"""

import argparse
import asyncio
import functools
import resource
import socketserver
from collections.abc import Callable

from hypercorn.asyncio import serve
from hypercorn.config import Config
from ministack.app import app
from ministack.core import iam_actions
from ministack.core.lambda_runtime import ProvidedWorker


def _action_of_batch(extract: Callable[..., str | None], service: str, *details: object, **more: object) -> str | None:
    action = extract(service, *details, **more)
    return action.removesuffix("Batch") if action and service == "sqs" else action


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="listening socket to serve")
    arguments = parser.parse_args()

    # Every function process and every waiting receive holds a descriptor.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    # An event goes to a function in two writes. Without this the second one waits 40 ms for the delayed acknowledgement of the first.
    socketserver.StreamRequestHandler.disable_nagle_algorithm = True
    # After each invocation ministack waits for output that belongs to it: 50 ms if there is none. What was written before the answer
    # is there within a millisecond, and a later line is shown with the next invocation.
    ProvidedWorker._drain_stderr_bounded = functools.partialmethod(
        ProvidedWorker._drain_stderr_bounded, first_line_wait=0.002, idle_confirm=0.001
    )

    # On AWS the right to send, delete or change one message is the right to do so in batches; there is no other.
    iam_actions.extract_iam_action = functools.partial(_action_of_batch, iam_actions.extract_iam_action)

    config = Config()
    config.bind = [f"fd://{arguments.fd}"]
    config.keep_alive_timeout = 75
    # Long polls are open at any time. Nobody needs their answer when the cloud goes away.
    config.graceful_timeout = 0.5
    config.loglevel = "WARNING"
    asyncio.run(serve(app, config))


if __name__ == "__main__":
    main()
