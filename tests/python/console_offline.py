"""Looks at the console while the PBX or the agent is away, in a headless browser.

Prints as JSON what stood on the pages. `tests/e2e/tools.rs` judges it.
"""

import json
from pathlib import Path
from typing import Any

from browser import PATIENCE_MS, arguments_of, launch
from console_walks import Pbx, go, sign_in
from playwright.sync_api import Page, sync_playwright

# Longer than the walk.
AWAY_MS = 120_000


def away(page: Page, folder: Path, name: str) -> dict[str, Any]:
    """What the pages say that need the agent, and what the first steps say."""
    seen: dict[str, Any] = {}
    go(page, "overview")
    page.locator("main :is(article, section) .tag").get_by_text(name, exact=True).first.wait_for()
    seen["overview"] = page.locator("main").inner_text()
    for other in ("users", "live", "try"):
        go(page, other)
        problem = page.locator("main .problem, main .steps .hint").first
        problem.wait_for()
        seen[other] = problem.inner_text()
        page.screenshot(path=folder / f"{name.replace(' ', '-')}-{other}.png", full_page=True)
    # The stack itself answers.
    seen["connection"] = page.locator("#connection").inner_text()
    return seen


def main() -> None:
    parser = arguments_of(__doc__)
    parser.add_argument("--pbx", help="URL of the simulated PBX's control API, which is sent away; without it the agent is away")
    arguments = parser.parse_args()
    arguments.screenshots.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = launch(playwright, arguments.browser)
        page = browser.new_context(locale="en-GB").new_page()
        page.set_default_timeout(PATIENCE_MS)
        try:
            sign_in(page, arguments.url, arguments.key)
            page.locator("nav a").first.wait_for()
            if arguments.pbx:
                Pbx(arguments.pbx).do("fault", kind="drop", down_ms=AWAY_MS)
            seen = away(page, arguments.screenshots, "not connected" if arguments.pbx else "no agent")
        finally:
            page.screenshot(path=arguments.screenshots / "last-offline.png", full_page=True)
            browser.close()
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
