"""What the scripts that use pages as a person does have in common: the browser, and what goes wrong in it."""

import argparse
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, Playwright

# Headless Chromium that stays on this machine: it asks nobody for updates, and needs neither a GPU nor a user other than root.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 30_000


def arguments_of(description: str | None) -> argparse.ArgumentParser:
    """What each of them is told."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--browser", required=True, help="Chromium's program")
    parser.add_argument("--url", required=True, help="base URL of the API")
    parser.add_argument("--key", required=True, help="API key")
    parser.add_argument("--screenshots", type=Path, required=True, help="folder for PNG files")
    return parser


def arguments_of_walk(description: str | None) -> argparse.ArgumentParser:
    """The same with what a walk through the console needs."""
    parser = arguments_of(description)
    parser.add_argument("--pbx", required=True, help="URL of the simulated PBX's control API")
    parser.add_argument("--axe", type=Path, help="axe-core's script; without it accessibility is not looked at")
    return parser


def launch(playwright: Playwright, program: str) -> Browser:
    return playwright.chromium.launch(executable_path=program, args=FLAGS)


def watch(page: Page, host: str) -> list[str]:
    """What goes wrong from now on: errors in the console, failed requests, and requests that leave the stack's own host."""
    complaints: list[str] = []

    def leaves(url: str) -> bool:
        return urlsplit(url).scheme not in ("blob", "data") and urlsplit(url).netloc != host

    page.on("console", lambda message: complaints.append(f"console: {message.text}") if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(f"page: {error}"))
    page.on("request", lambda request: complaints.append(f"leaves: {request.url}") if leaves(request.url) else None)
    # A page that is left ends its own requests.
    ended = "net::ERR_ABORTED"
    page.on("requestfailed", lambda request: None if request.failure == ended else complaints.append(f"failed: {request.url} {request.failure}"))
    page.on("response", lambda answer: complaints.append(f"{answer.status}: {answer.url}") if answer.status >= 400 else None)
    return complaints
