"""What an administrator does in the console, one walk after the other. `console.py` and `console_offline.py` take them."""

import json
import re
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from playwright.sync_api import Page, Route, expect

PAGES = ["overview", "live", "users", "webhooks", "webhooks/new", "webhook", "delivery", "keys", "audit", "api", "try"]
# Pages of one thing, and on which page the first of these is.
PARENTS = {"webhook": "webhooks", "delivery": "webhook"}
HOSTILE = '<img src=x onerror="document.title=1"> \u202e "quoted" & ' + "long " * 20
# The same at a length that only a hostile sender uses, and in one word.
VERY_HOSTILE = '</td><script>document.title="hit"</script><svg onload="document.title=2">\u202e"\'&amp;{n} ' + "W" * 10_000
# What comes from the PBX, from its users, or from receivers.
FOREIGN = {
    *("name", "longName", "user", "monitoredUser", "from", "to", "fromName", "toName", "fromE164", "toE164", "callerNumber", "pbxId"),
    *("description", "reason", "outcome", "answer", "problem", "os", "version", "keyName", "subject", "subjectName", "operation"),
    *("requestBody", "requestUrl", "message", "hint"),
}


class Pbx:
    """The simulated PBX's control API."""

    def __init__(self, address: str) -> None:
        self.address = address

    def do(self, what: str, **body: str | int) -> None:
        request = urllib.request.Request(f"{self.address}/{what}", json.dumps(body).encode(), method="POST")
        urllib.request.urlopen(request).close()


class Receiver:
    """A webhook's receiver that answers with this status and what it was sent."""

    def __init__(self, status: int = 204) -> None:
        self.status = status
        self.accepted = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.answer(self.rfile.read(int(self.headers.get("content-length", 0))))

            def do_GET(self) -> None:
                self.answer(self.path.encode())

            def answer(self, told: bytes) -> None:
                receiver.accepted += receiver.status < 300
                told = b"" if receiver.status == 204 else told
                self.send_response(receiver.status)
                self.send_header("content-length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/hook"


def sign_in(page: Page, url: str, key: str) -> None:
    page.goto(f"{url}/console/")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()


def menu(page: Page) -> list[str]:
    page.locator("nav a").first.wait_for()
    return page.locator("nav a").all_inner_texts()


def go(page: Page, name: str) -> None:
    if name in PARENTS:
        go(page, PARENTS[name])
        page.locator(f"main a[href^='#/{name}/']").first.click()
        page.wait_for_function("name => location.hash.startsWith(`#/${name}/`)", arg=name)
    else:
        page.evaluate("name => { location.hash = `#/${name}` }", name)
    page.locator("main h1").wait_for()
    # Not what it shows before there is anything to show.
    expect(page.get_by_text("Loading …")).to_have_count(0)


def first_run(page: Page) -> dict[str, Any]:
    """From an empty stack to an event that is seen, by what the pages say alone."""
    page.get_by_role("link", name="Begin").click()
    page.locator(".steps .tag").get_by_text("online").wait_for()
    page.get_by_text("The phone of Thomas De Wilde calls").wait_for()
    page.locator("form").get_by_role("button", name="Call").click()
    page.get_by_text("It works: this is what webhooks are told.").wait_for()
    page.get_by_role("button", name="Hang up").click()
    page.locator("table[aria-label=Events]").get_by_text("disconnected").first.wait_for()
    return {"steps": page.locator(".steps li.done").count()}


def users(page: Page) -> dict[str, Any]:
    page.get_by_role("link", name="Users").click()
    page.get_by_role("heading", name="Users", exact=True).wait_for()
    row = page.get_by_role("row").filter(has_text="Thomas De Wilde")
    row.get_by_role("button", name="Call").click()
    page.get_by_label("Number to call").fill("50")
    page.locator("form").get_by_role("button", name="Call").click()
    told = page.locator("#notices > *").first
    told.wait_for()
    return {"told": told.inner_text()}


def choices(page: Page) -> dict[str, Any]:
    """Language and colours are chosen with the keyboard on a phone, and outlast the page."""
    page.set_viewport_size({"width": 390, "height": 844})
    colours = page.get_by_label("Colours")
    colours.focus()
    colours.press("End")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_label("Language").focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("End")
    page.get_by_role("link", name="Übersicht").wait_for()
    seen = {
        "language": page.evaluate("document.documentElement.lang"),
        "outlasts": page.evaluate("getComputedStyle(document.body).backgroundColor") == dark,
        "dark": dark,
        "key": page.locator("#signed-in").inner_text(),
    }
    for label in ("Farben", "Sprache"):
        page.get_by_label(label).select_option("")
    page.get_by_role("link", name="Overview").wait_for()
    page.set_viewport_size({"width": 1280, "height": 900})
    return seen


def refused(page: Page, url: str, key: str) -> dict[str, Any]:
    """What the API refuses is told at the field, by the name that stands before it."""
    sign_in(page, url, key)
    menu(page)
    go(page, "webhooks/new")
    page.get_by_label("Address").fill("https://user:password@example.com")
    page.get_by_role("button", name="Save").click()
    problem = page.get_by_role("alert")
    problem.wait_for()
    seen = {"told": problem.inner_text(), "focus": page.evaluate("document.activeElement.name"), "invalid": page.locator("[aria-invalid]").count()}
    page.close()
    return seen


@contextmanager
def asked(page: Page, path: str) -> Iterator[list[str]]:
    """The requests to a path meanwhile."""
    found: list[str] = []

    def note(request: Any) -> None:
        if path in request.url:
            found.append(request.url)

    page.on("request", note)
    yield found
    page.remove_listener("request", note)


def live(page: Page, pbx: Pbx) -> dict[str, Any]:
    page.get_by_role("link", name="Live").click()
    page.get_by_text("Events appear here").wait_for()
    # While nothing happens, nobody is asked for calls.
    page.wait_for_timeout(2_500)
    with asked(page, "/rcc/calls") as commands:
        page.wait_for_timeout(5_000)
    pbx.do("call", **{"from": "+32472591687", "to": "43"})
    page.locator("table[aria-label=Events]").get_by_text("ringing").first.wait_for()
    page.locator("table[aria-label='Calls now']").get_by_text("Workshop").first.wait_for()
    pbx.do("hangup", extension="+32472591687")
    missed = page.locator("table[aria-label=Events] tr").filter(has_text="missed").filter(has_text="+32472591687").first
    missed.wait_for()
    return {"missed": missed.inner_text(), "asked in vain": len(commands)}


def new_webhook(page: Page, receiver: str, description: str, *, masked: bool = False) -> str:
    page.get_by_role("link", name="Webhooks", exact=True).click()
    page.get_by_role("link", name="New webhook").click()
    page.get_by_label("Address").fill("http://")
    page.get_by_role("button", name="Save").click()
    page.get_by_label("Address").fill(receiver)
    page.get_by_label("Description").fill(description)
    page.get_by_label("Mask numbers").set_checked(masked)
    page.get_by_role("button", name="Save").click()
    secret = page.locator("main code").first
    secret.wait_for()
    shown = secret.inner_text()
    page.get_by_role("link", name="Show the webhook").click()
    return shown


def webhook(page: Page, pbx: Pbx, receiver: str) -> dict[str, Any]:
    shown = new_webhook(page, receiver, HOSTILE)
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


def failing_webhook(page: Page, pbx: Pbx) -> dict[str, Any]:
    """A receiver that is gone, comes back, and gets what it has missed."""
    receiver = Receiver()
    new_webhook(page, receiver.url, "gone for a while")
    receiver.status = 410
    pbx.do("call", **{"from": "+32472591687", "to": "44"})
    pbx.do("hangup", extension="+32472591687")
    page.locator("main section .tag").get_by_text("off", exact=True).first.wait_for()
    table = page.locator("table[aria-label=Deliveries]")
    table.locator(".tag").get_by_text("cancelled").first.wait_for()
    seen = {"off": page.locator("main section.card").first.inner_text()}
    receiver.status = 204
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Pause").wait_for()
    page.get_by_label("Of the").select_option("last hour")
    page.get_by_role("button", name="Send again what did not arrive").click()
    page.get_by_role("dialog").get_by_role("button", name="Send again what did not arrive").click()
    told = page.locator("#notices > *").filter(has_text="sent again").first
    told.wait_for()
    table.locator(".tag").get_by_text("delivered").first.wait_for()
    page.locator("main section .tag").get_by_text("active").first.wait_for()
    seen["told"] = told.inner_text()
    seen["accepted"] = receiver.accepted > 0
    return seen


def keys(page: Page, other: Callable[[], Page], url: str) -> dict[str, Any]:
    """A key is made, sees less than the first one, is used, and is revoked."""
    page.get_by_role("link", name="Keys").click()
    page.locator("summary").get_by_text("New key").click()
    page.get_by_label("Name", exact=True).fill("reader")
    page.get_by_role("button", name="Make the key").click()
    code = page.locator("main code").first
    code.wait_for()
    second = other()
    sign_in(second, url, code.inner_text())
    seen: dict[str, Any] = {"menu": menu(second)}
    second.get_by_role("link", name="Users").click()
    # Rows of the page before may still be there.
    second.get_by_role("heading", name="Users", exact=True).wait_for()
    row = second.get_by_role("row").filter(has_text="Thomas De Wilde")
    row.wait_for()
    seen["may call"] = row.get_by_role("button", name="Call").count()
    # A page that the menu does not offer is reached by its address and says which rights it takes.
    second.evaluate("location.hash = '#/keys'")
    second.get_by_text("This key may not see this page.").wait_for()
    second.get_by_role("link", name="Overview").click()
    page.reload()
    row = page.get_by_role("row").filter(has_text="reader")
    row.locator("td[data-label='Last used'] time").wait_for()
    row.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("^Revoke")).click()
    page.get_by_text("The key is revoked.").wait_for()
    # A key that is revoked works for some seconds more.
    problem = second.get_by_role("alert")
    problem.wait_for()
    seen["revoked"] = problem.inner_text()
    return seen


def made_hostile(value: Any) -> Any:
    """The same answer with other texts in every field that strangers can fill."""
    if isinstance(value, list):
        return [made_hostile(one) for one in value]
    if isinstance(value, dict):
        return {name: VERY_HOSTILE if name in FOREIGN and isinstance(one, str) else made_hostile(one) for name, one in value.items()}
    return value


def hostile(page: Page, url: str) -> dict[str, Any]:
    """Every page with answers that are as bad as they can be. They have to be shown as text, on a screen of 390 pixels, too."""

    def spoil(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=made_hostile(answer.json()))

    api = re.compile(re.escape(url) + "/(status|stats|events|rcc|webhooks|deliveries|apikeys|audit)")
    page.route(api, spoil)
    wrong: dict[str, Any] = {}
    shown = 0
    for name in PAGES:
        go(page, name)
        page.wait_for_timeout(700)
        shown += page.get_by_text("</td><script>").count()
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 844})
            found = []
            if page.evaluate("document.querySelectorAll('main :is(img, script, iframe), main svg:not(.chart)').length"):
                found.append("markup is in the page")
            if page.title() in ("1", "2", "hit"):
                found.append("a script ran")
            if page.evaluate("document.documentElement.scrollWidth") > width:
                found.append("it is wider than the screen")
            if found:
                wrong[f"{name} at {width}"] = found
    page.unroute(api)
    page.set_viewport_size({"width": 1280, "height": 900})
    return {"wrong": wrong, "shown": shown > len(PAGES)}
