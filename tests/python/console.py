"""Uses the console as an administrator does, in a headless browser: signs in, looks, calls, makes and tries a webhook, makes and revokes a key.

Prints as JSON what stood on the pages, what axe-core found, and whatever the browser complained about. `tests/e2e/tools.rs` judges it.
"""

import argparse
import json
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from browser import PATIENCE_MS, launch, watch
from playwright.sync_api import Page, expect, sync_playwright

PAGES = ["overview", "live", "users", "webhooks", "webhooks/new", "keys", "audit", "api", "try"]
HOSTILE = '<img src=x onerror="document.title=1"> \u202e "quoted" & ' + "long " * 20


class Pbx:
    """The simulated PBX's control API."""

    def __init__(self, address: str) -> None:
        self.address = address

    def do(self, what: str, **body: str) -> None:
        request = urllib.request.Request(f"{self.address}/{what}", json.dumps(body).encode(), method="POST")
        urllib.request.urlopen(request).close()


def sign_in(page: Page, url: str, key: str) -> None:
    page.goto(f"{url}/console/")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()


def menu(page: Page) -> list[str]:
    page.locator("nav a").first.wait_for()
    return page.locator("nav a").all_inner_texts()


def violations(page: Page, axe: str) -> list[str]:
    """What axe-core finds, by rule and element. It runs beside the page's own policy."""
    page.evaluate(axe)
    found: dict[str, Any] = page.evaluate("axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa']})")
    return [f"{one['id']}: {node['html'][:120]}" for one in found["violations"] for node in one["nodes"]]


def pictures(page: Page, folder: Path, axe: str) -> dict[str, Any]:
    """Every page in two sizes and both colour schemes, with what is wrong on it."""
    wrong: dict[str, Any] = {}
    for width, scheme in [(1280, "light"), (390, "dark")]:
        page.set_viewport_size({"width": width, "height": 844})
        page.emulate_media(color_scheme=scheme)
        for name in PAGES:
            page.evaluate("name => { location.hash = `#/${name}` }", name)
            page.locator("main h1").wait_for()
            # Not what it shows before there is anything to show.
            expect(page.get_by_text("Loading …")).to_have_count(0)
            found = violations(page, axe) if axe else []
            if page.evaluate("document.documentElement.scrollWidth") > width:
                found.append("it is wider than the screen")
            if found:
                wrong[f"{name} at {width}"] = found
            page.screenshot(path=folder / f"{name.replace('/', '-')}-{width}-{scheme}.png", full_page=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    return wrong


def users(page: Page) -> dict[str, Any]:
    page.get_by_role("link", name="Users").click()
    row = page.get_by_role("row").filter(has_text="Thomas De Wilde")
    row.get_by_role("button", name="Call").click()
    page.get_by_label("Number to call").fill("50")
    page.locator("form").get_by_role("button", name="Call").click()
    told = page.locator("#notices > *").first
    told.wait_for()
    return {"told": told.inner_text()}


def live(page: Page, pbx: Pbx) -> dict[str, Any]:
    page.get_by_role("link", name="Live").click()
    page.get_by_text("Events appear here").wait_for()
    pbx.do("call", **{"from": "+32472591687", "to": "43"})
    page.locator("table[aria-label=Events]").get_by_text("ringing").first.wait_for()
    pbx.do("hangup", extension="+32472591687")
    missed = page.locator("table[aria-label=Events] tr").filter(has_text="missed").filter(has_text="+32472591687").first
    missed.wait_for()
    return {"missed": missed.inner_text()}


def webhook(page: Page, pbx: Pbx, receiver: str) -> dict[str, Any]:
    page.get_by_role("link", name="Webhooks").click()
    page.get_by_role("link", name="New webhook").click()
    page.get_by_label("Address").fill("http://")
    page.get_by_role("button", name="Save").click()
    page.get_by_label("Address").fill(receiver)
    page.get_by_label("Description").fill(HOSTILE)
    page.get_by_role("button", name="Save").click()
    secret = page.locator("main code").first
    secret.wait_for()
    shown = secret.inner_text()
    page.get_by_role("link", name="Send a test").click()
    page.get_by_role("button", name="Send a test").click()
    told = page.locator("#notices > *").filter(has_text="answered").first
    told.wait_for()
    seen = {"secret": shown.startswith("whsec_"), "told": told.inner_text(), "title": page.locator("main h1").inner_text()}
    page.get_by_role("button", name="Pause").click()
    page.locator(".tag").get_by_text("paused").wait_for()
    page.get_by_role("button", name="Resume").click()
    page.locator("main section .tag").get_by_text("active").first.wait_for()
    # What was sent of a call, and the answer.
    pbx.do("call", **{"from": "+32472591687", "to": "44"})
    page.locator("table[aria-label=Deliveries] a").get_by_text("ringing").first.click()
    pbx.do("hangup", extension="+32472591687")
    page.locator("pre").first.wait_for()
    seen["request"] = page.locator("pre").first.inner_text()
    page.go_back()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("^Delete")).click()
    page.get_by_text("The webhook is deleted.").wait_for()
    return seen


def keys(page: Page, other: Callable[[], Page], url: str) -> dict[str, Any]:
    page.get_by_role("link", name="Keys").click()
    page.locator("summary").get_by_text("New key").click()
    page.get_by_label("Name", exact=True).fill("reader")
    page.get_by_role("button", name="New key").click()
    code = page.locator("main code").first
    code.wait_for()
    second = other()
    sign_in(second, url, code.inner_text())
    seen = {"menu": menu(second)}
    page.get_by_role("row").filter(has_text="reader").get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("^Revoke")).click()
    page.get_by_text("The key is revoked.").wait_for()
    # A key that is revoked works for some seconds more.
    problem = second.get_by_role("alert")
    problem.wait_for()
    seen["revoked"] = problem.inner_text()
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--browser", required=True, help="Chromium's program")
    parser.add_argument("--url", required=True, help="base URL of the API")
    parser.add_argument("--key", required=True, help="API key")
    parser.add_argument("--pbx", required=True, help="URL of the simulated PBX's control API")
    parser.add_argument("--receiver", required=True, help="URL of a webhook's receiver")
    parser.add_argument("--screenshots", type=Path, required=True, help="folder for PNG files")
    parser.add_argument("--axe", type=Path, help="axe-core's script; without it accessibility is not looked at")
    arguments = parser.parse_args()
    arguments.screenshots.mkdir(parents=True, exist_ok=True)
    axe = arguments.axe.read_text() if arguments.axe else ""

    with sync_playwright() as playwright:
        browser = launch(playwright, arguments.browser)

        def tab() -> Page:
            page = browser.new_context(locale="en-GB").new_page()
            page.set_default_timeout(PATIENCE_MS)
            return page

        page = tab()
        try:
            sign_in(page, arguments.url, "ec_wrong")
            problem = page.get_by_role("alert")
            problem.wait_for()
            seen: dict[str, Any] = {"wrong key": problem.inner_text()}
            complaints = watch(page, urlsplit(arguments.url).netloc)
            page.get_by_label("API key").fill(arguments.key)
            page.get_by_role("button", name="Sign in").click()
            seen["menu"] = menu(page)
            page.locator("article .tag").get_by_text("connected").wait_for()
            seen["address"] = page.url
            seen["users"] = users(page)
            seen["live"] = live(page, Pbx(arguments.pbx))
            seen["webhook"] = webhook(page, Pbx(arguments.pbx), arguments.receiver)
            seen["keys"] = keys(page, tab, arguments.url)
            seen["wrong"] = pictures(page, arguments.screenshots, axe)
            seen["key in storage"] = page.evaluate("Object.values(localStorage).join() + document.cookie")
        finally:
            # Also of a page on which something is missing.
            page.screenshot(path=arguments.screenshots / "last.png", full_page=True)
            browser.close()
    print(json.dumps({**seen, "complaints": complaints}))


if __name__ == "__main__":
    main()
