"""scripts/open-reports: the report of each source in headless Chromium, what it did there, and pictures to look at.

A source is what `perfkit report` takes; a folder without a record stands for each trace in it; `A,B` is a comparison.
For each OUT gets NAME.html and, in either theme, NAME-THEME-N.png: the page, cut into pieces of 1,800 pixels. A line
says the bytes, the time to the first paint and until all was drawn, the processor time of the page's main thread until
then, which other programs hardly change, the fewest colours that a figure has, how many tables were sorted and
filtered, whether the timeline zoomed by key, and what axe-core found. Exit code 1: a page complained, asked for
something, left a figure empty, or one of these did not work.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from perfkit import cli
from tests.browser.opening import Opened, drawn, open_in, violations
from tests.conftest import FLAGS

PIECE = 1800
"""Height of a picture, in pixels: what can be looked at without being made smaller."""
_PAINT = "Math.round(performance.getEntriesByType('paint').find((one) => one.name === 'first-paint')?.startTime ?? -1)"
_ENDINGS = (".json", ".json.gz", ".sqlite", ".pickle", ".pickle.gz")


@dataclass
class Seen:
    """What one page did."""

    wrong: list[str] = field(default_factory=list)
    paint_ms: int = 0
    ready_ms: int = 0
    busy_ms: int = 0
    colours: int = 0
    tables: int = 0
    zooms: bool | None = None


def main(argv: Sequence[str] | None = None) -> int:
    """Make, open and picture each report."""
    parser = argparse.ArgumentParser(
        prog="scripts/open-reports", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder for reports and pictures")
    parser.add_argument("sources", nargs="+", metavar="SOURCE")
    chosen = parser.parse_args(argv)
    chosen.out.mkdir(parents=True, exist_ok=True)
    path = shutil.which("chromium")
    if path is None:
        print("open-reports: there is no chromium: scripts/install-chromium", file=sys.stderr)
        return 2
    failed = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        for source in _each(chosen.sources):
            name = "-".join(Path(one).name.split(".")[0] for one in source)
            file = chosen.out / f"{name}.html"
            if code := cli.main(["report", *source, "-o", str(file)]):
                print(f"{name}: no report, exit code {code}")
                failed += 1
                continue
            for theme in ("light", "dark"):
                seen = _look(browser, file, theme)
                failed += bool(seen.wrong)
                print(
                    f"{name} {theme}: {file.stat().st_size / 1e6:.2f} MB, paint {seen.paint_ms} ms, drawn"
                    f" {seen.ready_ms} ms, main thread busy {seen.busy_ms} ms, {seen.colours}+ colours,"
                    f" {seen.tables} tables, zooms: {seen.zooms};"
                    f" {'; '.join(seen.wrong) or 'nothing wrong'}",
                    flush=True,
                )
        browser.close()
    return int(failed > 0)


def _each(sources: Sequence[str]) -> Iterator[list[str]]:
    for source in sources:
        path = Path(source)
        if path.is_dir() and not (path / "record.json").exists():
            yield from ([str(file)] for file in sorted(path.iterdir()) if file.name.endswith(_ENDINGS))
        else:
            yield source.split(",")


def _look(browser: Browser, file: Path, theme: str) -> Seen:
    context = browser.new_context(viewport={"width": 1200, "height": 800}, color_scheme=theme)  # type: ignore[arg-type]
    context.set_default_timeout(10_000)
    sessions: list[CDPSession] = []
    shown = open_in(context, file, lambda page: sessions.append(_counting(page)))
    page = shown.page
    seen = Seen(paint_ms=page.evaluate(_PAINT), ready_ms=page.evaluate("Math.round(performance.now())"))
    counted = {one["name"]: one["value"] for one in sessions[0].send("Performance.getMetrics")["metrics"]}
    seen.busy_ms = round(1e3 * counted["TaskDuration"])
    _picture(page, file, theme)
    if shown.errors:
        seen.wrong += _said(shown)
        context.close()
        return seen
    colours = drawn(shown)
    seen.colours = min(colours.values(), default=0)
    seen.wrong += [f"{kind} is empty" for kind, count in colours.items() if count < 3]
    seen.wrong += [f"axe: {rule}: {places}" for rule, places in violations(page)[0]]
    if page.get_attribute("html", "data-drawn") != theme:
        seen.wrong.append("drawn in another theme")
    _use_tables(page, seen)
    _use_timeline(page, seen)
    seen.wrong += _said(shown)
    context.close()
    return seen


def _counting(page: Page) -> CDPSession:
    """Counts the page's work from now on, in processor time."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    return session


def _said(shown: Opened) -> list[str]:
    return [f"console: {error}" for error in shown.errors] + [f"request: {url}" for url in shown.requests]


def _picture(page: Page, file: Path, theme: str) -> None:
    for old in file.parent.glob(f"{file.stem}-{theme}-*.png"):
        old.unlink()
    with Image.open(io.BytesIO(page.screenshot(full_page=True))) as whole:
        for number, top in enumerate(range(0, whole.height, PIECE), start=1):
            piece = whole.crop((0, top, whole.width, min(top + PIECE, whole.height)))
            piece.save(file.parent / f"{file.stem}-{theme}-{number}.png")


def _use_tables(page: Page, seen: Seen) -> None:
    """Sort each table by its first column, by the keyboard, then keep the rows that hold the first one's text."""
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    for table in page.locator("div.table").all():
        button, search = table.locator("thead button"), table.locator("input")
        name = table.get_attribute("data-name")
        if not button.count() or not table.locator("tbody tr").count():
            continue
        seen.tables += 1
        button.first.press("Enter")
        if table.locator("thead th").first.get_attribute("aria-sort") not in {"ascending", "descending"}:
            seen.wrong.append(f"{name} does not sort")
        if search.count():
            search.fill("no row has this text")
            if table.locator("tbody tr").count():
                seen.wrong.append(f"{name} does not filter")
            search.fill("")


def _use_timeline(page: Page, seen: Seen) -> None:
    figure = page.locator("figure.timeline").first
    if not figure.count():
        return

    def width() -> float:
        return float(figure.get_attribute("data-to") or 0) - float(figure.get_attribute("data-from") or 0)

    before = width()
    figure.locator("canvas").focus()
    page.keyboard.press("+")
    seen.zooms = width() < before
    if not seen.zooms:
        seen.wrong.append("the timeline does not zoom")
