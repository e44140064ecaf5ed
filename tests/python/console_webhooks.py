"""Looks at webhooks in the console that are not as others: one whose receiver fails and is mended, and one that gets masked numbers.

The stack has to call a webhook failing after some seconds. Prints as JSON what stood on the pages, and what axe-core found.
`tests/e2e/tools.rs` judges it.
"""

import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from browser import PATIENCE_MS, arguments_of_walk, launch, watch
from console_looks import Looks
from console_walks import Pbx, Receiver, go, new_webhook, sign_in
from playwright.sync_api import Page, expect, sync_playwright

CALLER = "+32472591687"
# Of the caller, and of the users who are called.
SECRETS = ["472591687", "Thomas", "De Wilde", "Workshop"]
# For so long a webhook counts as slow after the last trouble, and as long again for a slow machine.
SLOW_MS = 120_000


def webhook_of_notices(url: str, key: str, receiver: str) -> str:
    """A webhook that is told of others. Returns its page."""
    wanted = {"url": receiver, "description": "for the operator", "kinds": ["subscription.failing", "subscription.recovered"]}
    headers = {"X-API-Key": key, "content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{url}/webhooks", json.dumps(wanted).encode(), headers)) as answer:
        return f"webhook/{json.load(answer)['id']}"


@contextmanager
def in_german(page: Page) -> Iterator[None]:
    page.get_by_label("Language").select_option("de")
    page.get_by_role("link", name="Übersicht").wait_for()
    page.locator("main h1").wait_for()
    yield
    page.get_by_label("Sprache").select_option("")
    page.get_by_role("link", name="Overview").wait_for()
    page.locator("main h1").wait_for()


def own_page(page: Page) -> str:
    return str(page.evaluate("location.hash.slice(2)"))


def summary(page: Page) -> str:
    return page.locator("main section.card").first.inner_text()


def missed_call(pbx: Pbx, to: str) -> None:
    pbx.do("call", **{"from": CALLER, "to": to})
    pbx.do("hangup", extension=CALLER)


def fails(page: Page, pbx: Pbx, looks: Looks, notices: str, stale_s: float) -> tuple[dict[str, Any], Receiver, str]:
    """A receiver refuses everything for as long as it takes to be called failing, and every page that shows its webhook says so. At the
    end the ringing of its call is stale."""
    receiver = Receiver(500)
    new_webhook(page, receiver.url, "out of order")
    own = own_page(page)
    missed_call(pbx, "44")
    rang_at = time.monotonic()
    state = page.locator("main section.card .tag")
    state.get_by_text("failing", exact=True).first.wait_for()
    seen: dict[str, Any] = {"failing": summary(page), "since": page.locator("main section.card time").first.get_attribute("datetime")}
    looks.everywhere(page, "webhook-failing")
    # Whoever uses the keyboard is not thrown out when the page looks again.
    page.get_by_role("button", name="Pause").focus()
    page.wait_for_timeout(5_000)
    seen["focus"] = page.evaluate("document.activeElement.innerText")
    with in_german(page):
        page.locator("main section.card .tag").first.wait_for()
        seen["german"] = summary(page)
        looks.everywhere(page, "webhook-failing-de")
    page.locator("table[aria-label=Deliveries] a").get_by_text("ringing").first.click()
    page.locator("table[aria-label=Attempts]").wait_for()
    seen["attempts"] = page.locator("table[aria-label=Attempts]").inner_text()
    looks.everywhere(page, "delivery-failing")
    for name in ("overview", "webhooks"):
        go(page, name)
        row = page.get_by_role("row").filter(has_text="out of order")
        row.wait_for()
        seen[name] = row.inner_text()
        looks.everywhere(page, f"{name}-failing")
    go(page, notices)
    page.locator("table[aria-label=Deliveries]").get_by_text("another webhook accepts nothing").wait_for()
    looks.everywhere(page, "webhook-told")
    page.wait_for_timeout(max(0.0, rang_at + stale_s - time.monotonic()) * 1000)
    return seen, receiver, own


def recovers(page: Page, receiver: Receiver, own: str) -> dict[str, Any]:
    """The receiver is mended, and what it has missed is sent."""
    go(page, own)
    receiver.status = 200
    page.get_by_role("button", name="Resume").click()
    table = page.locator("table[aria-label=Deliveries]")
    table.locator("tr").filter(has_text="disconnected").locator(".tag").get_by_text("delivered").wait_for()
    table.locator("tr").filter(has_text="ringing").locator(".tag").get_by_text("expired").wait_for()
    page.locator("main section.card .tag").get_by_text("slow", exact=True).first.wait_for()
    page.get_by_text("It accepts again, and nothing waits.").wait_for()
    seen: dict[str, Any] = {"mended": summary(page), "at first": receiver.accepted}
    page.get_by_label("Of the").select_option("last hour")
    page.get_by_role("button", name="Send again what did not arrive").click()
    page.get_by_role("dialog").get_by_role("button", name="Send again what did not arrive").click()
    told = page.locator("#notices > *").filter(has_text="sent again").first
    told.wait_for()
    seen["told"] = told.inner_text()
    table.locator("tr").filter(has_text="ringing").locator(".tag").get_by_text("delivered").wait_for()
    seen["at last"] = receiver.accepted
    return seen


def is_well(page: Page, own: str, notices: str) -> dict[str, Any]:
    go(page, own)
    page.locator("main section.card .tag").get_by_text("active", exact=True).first.wait_for(timeout=SLOW_MS)
    seen = {"active": summary(page)}
    go(page, notices)
    page.locator("table[aria-label=Deliveries]").get_by_text("another webhook accepts again").wait_for()
    go(page, "overview")
    page.get_by_text("All accept what they are sent.").wait_for()
    return seen


def several_pbxs(page: Page, looks: Looks) -> str:
    """The deliveries of this stack are of two PBXs."""
    go(page, "overview")
    table = page.get_by_role("table", name="The same for each PBX")
    table.wait_for()
    page.get_by_text("Stages of each PBX").click()
    looks.everywhere(page, "overview-pbxs")
    return table.inner_text() + page.get_by_role("table", name="Stages of each PBX").inner_text()


def masked(page: Page, pbx: Pbx, looks: Looks) -> dict[str, Any]:
    """A webhook that masks numbers: no page shows one, whatever happens to it. Its receiver answers with what it was sent."""
    new_webhook(page, Receiver(200).url, "need not know who", masked=True)
    own = own_page(page)
    seen: dict[str, Any] = {"leaks": {}}

    def leaks(name: str) -> None:
        found = [secret for secret in SECRETS if secret in page.content()]
        if found:
            seen["leaks"][name] = found

    # From outside, and between two users with names.
    missed_call(pbx, "43")
    pbx.do("call", **{"from": "42", "to": "43"})
    expect(page.locator("table[aria-label=Deliveries] tr").filter(has_text="ringing")).to_have_count(2, timeout=PATIENCE_MS)
    pbx.do("hangup", extension="42")
    delivered = page.locator("table[aria-label=Deliveries] .tag").get_by_text("delivered")
    # A call that is made tells nothing of its ringing.
    expect(delivered).to_have_count(5, timeout=PATIENCE_MS)
    page.get_by_role("button", name="Send a test").click()
    expect(delivered).to_have_count(6, timeout=PATIENCE_MS)
    seen["summary"] = summary(page)
    seen["users"] = page.locator("table[aria-label=Deliveries] td[data-label=User]").all_inner_texts()
    leaks("webhook")
    looks.everywhere(page, "webhook-masked")
    links = [link.get_attribute("href") for link in page.locator("table[aria-label=Deliveries] a").all()]
    seen["requests"] = []
    for n, link in enumerate(links):
        go(page, str(link).removeprefix("#/"))
        page.locator("table[aria-label=Attempts] pre").first.wait_for()
        seen["requests"].append(page.locator("main").inner_text())
        leaks(f"delivery {n}")
    looks.everywhere(page, "delivery-masked")
    page.get_by_role("button", name="Send again").click()
    page.get_by_text("It is sent again.").wait_for()
    # What is asked for by GET has it all in its address.
    go(page, own)
    page.get_by_role("button", name="Settings").click()
    seen["checked"] = page.get_by_label("Mask numbers").is_checked()
    looks.everywhere(page, "settings-masked")
    page.get_by_label("Method").select_option("GET")
    page.get_by_label("Format").select_option("extended")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("The settings are saved.").wait_for()
    row = page.locator("table[aria-label=Deliveries] tr").filter(has_text="Send again").last
    row.locator("td[data-label=Attempts]").get_by_text("2").wait_for()
    leaks("webhook after a replay")
    row.locator("a").click()
    page.locator("pre").first.wait_for()
    seen["address"] = page.locator("pre").first.inner_text()
    leaks("delivery by GET")
    looks.everywhere(page, "delivery-masked-get")
    with in_german(page):
        page.locator("pre").first.wait_for()
        leaks("delivery in German")
        go(page, own)
        page.get_by_role("button", name="Einstellungen").click()
        seen["offered"] = page.locator("form").inner_text()
        looks.everywhere(page, "settings-masked-de")
    for name, text in (("webhooks", "need not know who"), ("audit", "change a webhook")):
        go(page, name)
        page.get_by_text(text).first.wait_for()
        leaks(name)
        looks.everywhere(page, f"{name}-masked")
    return seen


def main() -> None:
    parser = arguments_of_walk(__doc__)
    parser.add_argument("--stale", type=float, required=True, help="seconds after which a ringing is not sent any more")
    arguments = parser.parse_args()
    looks = Looks(arguments.screenshots, arguments.axe)

    with sync_playwright() as playwright:
        browser = launch(playwright, arguments.browser)
        page = browser.new_context(locale="en-GB").new_page()
        page.set_default_timeout(PATIENCE_MS)
        try:
            complaints = watch(page, urlsplit(arguments.url).netloc)
            notices = webhook_of_notices(arguments.url, arguments.key, Receiver().url)
            sign_in(page, arguments.url, arguments.key)
            page.locator("article .tag").get_by_text("connected").wait_for()
            pbx = Pbx(arguments.pbx)
            failing, receiver, own = fails(page, pbx, looks, notices, arguments.stale)
            failing |= recovers(page, receiver, own) | {"pbxs": several_pbxs(page, looks)}
            seen = {"masked": masked(page, pbx, looks), "failing": failing | is_well(page, own, notices)}
        finally:
            page.screenshot(path=arguments.screenshots / "last-webhooks.png", full_page=True)
            browser.close()
    print(json.dumps({**seen, "wrong": looks.wrong, "complaints": complaints}))


if __name__ == "__main__":
    main()
