"""Looks at the console's pages in two sizes and both colour schemes: what axe-core finds, whether a page fits the screen, and a picture."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

VIEWS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
RULES = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]


class Looks:
    """What is wrong is collected by page and width. Without axe-core's script accessibility is not looked at."""

    def __init__(self, folder: Path, axe: Path | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.axe = axe.read_text() if axe else ""
        self.wrong: dict[str, list[str]] = {}
        self.view = VIEWS[0]

    def views(self, page: Page) -> Iterator[None]:
        """One view after the other; afterwards the page is as a walk has it."""
        for view in VIEWS:
            self.view = view
            page.set_viewport_size({"width": view[0], "height": 844})
            page.emulate_media(color_scheme=view[1])
            yield
        page.set_viewport_size({"width": 1280, "height": 900})
        page.emulate_media(color_scheme="light")

    def at(self, page: Page, name: str) -> None:
        """Looks at a page as it is, in the present view."""
        width, scheme = self.view
        found = self.violations(page) if self.axe else []
        if page.evaluate("document.documentElement.scrollWidth") > width:
            found.append("it is wider than the screen")
        if found:
            self.wrong[f"{name} at {width}"] = found
        page.screenshot(path=self.folder / f"{name.replace('/', '-')}-{width}-{scheme}.png", full_page=True)

    def everywhere(self, page: Page, name: str) -> None:
        """Looks at a page as it is, in all views."""
        for _ in self.views(page):
            self.at(page, name)

    def violations(self, page: Page) -> list[str]:
        """What axe-core finds, by rule and element. It runs beside the page's own policy."""
        page.evaluate(self.axe)
        found: dict[str, Any] = page.evaluate("rules => axe.run(document, {runOnly: rules})", RULES)
        return [f"{one['id']}: {node['html'][:120]}" for one in found["violations"] for node in one["nodes"]]
