"""Uses the console as an administrator does, in a headless browser: signs in, tries it, looks, calls, makes and mends a webhook, makes and revokes a key.

Prints as JSON what stood on the pages, what axe-core found, and whatever the browser complained about. `tests/e2e/tools.rs` judges it.
"""

import json
from typing import Any
from urllib.parse import urlsplit

from browser import PATIENCE_MS, arguments_of_walk, launch, watch
from console_looks import Looks
from console_walks import (
    PAGES,
    Pbx,
    choices,
    failing_webhook,
    first_run,
    go,
    hostile,
    keys,
    live,
    menu,
    refused,
    sign_in,
    users,
    webhook,
)
from playwright.sync_api import Page, sync_playwright


def pictures(page: Page, looks: Looks) -> None:
    """Every page in all views."""
    for _ in looks.views(page):
        for name in PAGES:
            go(page, name)
            looks.at(page, name)


def main() -> None:
    parser = arguments_of_walk(__doc__)
    parser.add_argument("--receiver", required=True, help="URL of a webhook's receiver")
    arguments = parser.parse_args()
    looks = Looks(arguments.screenshots, arguments.axe)

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
            pbx = Pbx(arguments.pbx)
            seen["first run"] = first_run(page)
            seen["users"] = users(page)
            seen["live"] = live(page, pbx)
            seen["webhook"] = webhook(page, pbx, arguments.receiver)
            seen["failing webhook"] = failing_webhook(page, pbx)
            seen["keys"] = keys(page, tab, arguments.url)
            seen["choices"] = choices(page)
            # On a tab of its own, because a refusal is no complaint.
            seen["refused"] = refused(tab(), arguments.url, arguments.key)
            pictures(page, looks)
            seen["wrong"] = looks.wrong
            seen["hostile"] = hostile(page, arguments.url)
            # Besides what was chosen: the language and the colours.
            seen["key in storage"] = page.evaluate("Object.values(localStorage).filter((one) => !['de', 'dark'].includes(one)).join() + document.cookie")
        finally:
            # Also of a page on which something is missing.
            page.screenshot(path=arguments.screenshots / "last.png", full_page=True)
            browser.close()
    print(json.dumps({**seen, "complaints": complaints}))


if __name__ == "__main__":
    main()
