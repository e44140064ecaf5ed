"""Uses the API's own page as a person does, in a headless browser: authorizes, lists the users, and calls somebody.

Prints as JSON what stood on the page after each operation, and whatever the browser complained about. `tests/e2e/tools.rs`
judges it.
"""

import argparse
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from browser import PATIENCE_MS, launch, watch
from playwright.sync_api import Locator, Page, expect, sync_playwright


def off_screen(page: Page) -> list[str]:
    """Sizes of a screen on which no operation is seen before somebody scrolls."""
    missing = []
    for width, height in [(390, 844), (1280, 720)]:
        page.set_viewport_size({"width": width, "height": height})
        box = page.locator(".opblock").first.bounding_box()
        if box is None or box["y"] + box["height"] > height:
            missing.append(f"{width} x {height}: {box}")
    return missing


def found(page: Page, phrase: str) -> list[str]:
    """The paths that the filter leaves."""
    box = page.locator("input.operation-filter-input")
    box.fill(phrase)
    only = page.locator(".opblock")
    expect(only).to_have_count(1)
    # The page lets long paths break.
    paths = [path.replace("\u200b", "") for path in only.locator(".opblock-summary-path").all_inner_texts()]
    box.fill("")
    return paths


def authorize(page: Page, key: str) -> None:
    page.locator("button.authorize").first.click()
    dialog = page.locator(".dialog-ux")
    scheme = dialog.locator(".auth-container", has_text="apikey").first
    scheme.locator("input").fill(key)
    scheme.get_by_role("button", name="Apply credentials").click()
    # The page shows that it knows a key by offering to forget it.
    scheme.get_by_role("button", name="Remove authorization").wait_for()
    scheme.get_by_role("button", name="Close").click()
    dialog.wait_for(state="detached")


def try_out(page: Page, operation: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Opens an operation, executes it, and reads the answer where a person would."""
    block = page.locator(f'.opblock[id$="-{operation}"]')
    block.locator(".opblock-summary-control").click()
    if body is not None:
        block.locator("textarea.body-param__text").fill(json.dumps(body))
    block.get_by_role("button", name="Execute").click()
    answer = block.locator("table.live-responses-table tbody tr.response")
    answer.wait_for()
    status, body = text(answer.locator(".response-col_status")), text(answer.locator(".highlight-code code"))
    return {"status": status, "body": json.loads(body)}


def text(element: Locator) -> str:
    return element.first.inner_text().strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--browser", required=True, help="Chromium's program")
    parser.add_argument("--url", required=True, help="base URL of the API")
    parser.add_argument("--key", required=True, help="API key")
    parser.add_argument("--screenshot", type=Path, required=True, help="PNG file to write")
    arguments = parser.parse_args()

    with sync_playwright() as playwright:
        browser = launch(playwright, arguments.browser)
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(PATIENCE_MS)
        complaints = watch(page, urlsplit(arguments.url).netloc)
        try:
            page.goto(f"{arguments.url}/swagger/")
            page.locator(".opblock").first.wait_for()
            seen = {"off screen": off_screen(page), "found": found(page, "makecall")}
            authorize(page, arguments.key)
            seen |= {
                "address": page.url,
                "title": text(page.locator(".information-container .title")),
                "operations": page.locator(".opblock").count(),
                "GetUsers": try_out(page, "GetUsers"),
                "MakeCall": try_out(page, "MakeCall", {"from": "77", "to": "50"}),
            }
        finally:
            # Also of a page on which something is missing.
            page.screenshot(path=arguments.screenshot, full_page=True)
            browser.close()
    print(json.dumps({**seen, "complaints": complaints}))


if __name__ == "__main__":
    main()
