"""Opens a report in a browser, and says what it did there: for the tests and for `scripts/open-reports`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

DRAWN = """
async (figure) => {
  const pixels = (canvas) => {
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    const colors = new Set();
    for (let at = 0; at < data.length; at += 4) colors.add((data[at] << 16) | (data[at + 1] << 8) | data[at + 2]);
    return colors.size;
  };
  const inside = (root) => [...root.querySelectorAll("*")].flatMap(
    (one) => [...(one.tagName === "CANVAS" ? [one] : []), ...(one.shadowRoot ? inside(one.shadowRoot) : [])],
  );
  return Math.max(0, ...inside(figure).filter((canvas) => canvas.width && canvas.height).map(pixels));
}
"""
"""How many colours the canvas with most has, shadow roots included."""


@dataclass
class Opened:
    """A report in the browser, and what it did there."""

    page: Page
    errors: list[str] = field(default_factory=list)
    """What the console and uncaught exceptions said."""
    requests: list[str] = field(default_factory=list)
    """What was asked for beside the file itself."""


def open_in(context: BrowserContext, path: Path, before: Callable[[Page], None] = lambda page: None) -> Opened:
    """The file, when all of it is drawn, or when something went wrong. `before`: what is done with the empty page."""
    shown = Opened(context.new_page())
    shown.page.on("console", lambda said: shown.errors.append(said.text) if said.type == "error" else None)
    shown.page.on("pageerror", lambda error: shown.errors.append(str(error)))
    address = path.resolve().as_uri()
    shown.page.on("request", lambda asked: shown.requests.append(asked.url) if asked.url != address else None)
    before(shown.page)
    shown.page.goto(address)
    for _ in range(3_000):
        if shown.errors or shown.page.get_attribute("html", "data-ready") == "yes":
            return shown
        shown.page.wait_for_timeout(20)
    raise AssertionError(f"{path} is not drawn within a minute")


def drawn(shown: Opened) -> dict[str, int]:
    """Kind of figure -> how many colours its last one has."""
    return {
        str(figure.get_attribute("class")).split()[-1]: figure.evaluate(DRAWN)
        for figure in shown.page.query_selector_all("figure")
    }


def violations(page: Page) -> tuple[list[tuple[str, list[str]]], int]:
    """What axe-core finds against its rules, with the first places, and how many places of contrast it looked at."""
    import axe_core_python  # type: ignore[import-untyped]  # noqa: PLC0415 -- the tests skip without it

    page.evaluate((Path(axe_core_python.__file__).parent / "axe.min.js").read_text("utf-8"))
    found: dict[str, Any] = page.evaluate("axe.run(document)")
    looked_at = {one["id"]: len(one["nodes"]) for one in found["passes"]}
    said = [(one["id"], [node["html"][:120] for node in one["nodes"][:3]]) for one in found["violations"]]
    return said, looked_at.get("color-contrast", 0)
