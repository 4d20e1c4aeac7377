"""Reports as people open them: in a browser, without a network."""

from __future__ import annotations

import gzip
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from perfkit import cli
from perfkit.render import colours
from perfkit.schema import record as records
from perfkit.schema.record import StepSample
from tests import runs
from tests.analysis.memory.recorded import training
from tests.browser.opening import drawn, violations
from tests.corpus import corpus_file

HOSTILE = [
    "</script><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "';document.title='owned';//\u2028\u2029",
    "\u202egnp.exe \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "k" * 10_000,
]


def trace(folder: Path, kernels: list[str], *, shapes: bool = True) -> Path:
    """A trace of one step in which two layers launch these kernels, of 20 us each, 5 us apart."""
    span = 25.0 * len(kernels) + 200
    said = {"Input Dims": [[8, 4096], [4096, 64]], "Input type": ["float", "float"]} if shapes else {}
    events: list[dict[str, Any]] = [
        {"ph": "X", "cat": "user_annotation", "name": "ProfilerStep#1", "pid": 1, "tid": 1, "ts": 0, "dur": span},
        {"ph": "X", "cat": "cpu_op", "name": "perfkit::layers.0", "pid": 1, "tid": 1, "ts": 1, "dur": span / 2},
        {"ph": "X", "cat": "cpu_op", "name": "perfkit::layers.1", "pid": 1, "tid": 1, "ts": span / 2 + 2,
         "dur": span / 2 - 3},
    ]  # fmt: skip
    for number, kernel in enumerate(kernels, start=1):
        at = 25.0 * number
        events += [
            {"ph": "X", "cat": "cpu_op", "name": "aten::mm", "pid": 1, "tid": 1, "ts": at, "dur": 9,
             "args": said},
            {"ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", "pid": 1, "tid": 1, "ts": at + 1, "dur": 3,
             "args": {"correlation": number}},
            {"ph": "X", "cat": "kernel", "name": kernel, "pid": 0, "tid": 7, "ts": at + 5,
             "dur": 20 + (kernel in HOSTILE), "args": {"device": 0, "stream": 7, "correlation": number}},
        ]  # fmt: skip
    path = folder / "host_1.2.pt.trace.json.gz"
    path.write_bytes(gzip.compress(json.dumps({"traceEvents": events}).encode(), 1))
    return path


def report(*paths: Path) -> Path:
    """The report of these."""
    file = paths[0].parent / "report.html"
    assert cli.main(["report", *map(str, paths), "-o", str(file)]) == 0
    return file


@pytest.fixture(scope="module")
def of_trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a trace of 30 kernels of 26 names."""
    return report(trace(tmp_path_factory.mktemp("trace"), [f"gemm_{chr(97 + n % 26)}" for n in range(30)]))


def test_the_report_of_a_trace_draws_without_a_request(of_trace, opened):
    """GIVEN a trace WHEN its report is opened THEN each figure has pixels, nothing is requested, nothing complains"""
    shown = opened(of_trace)
    assert (shown.errors, shown.requests) == ([], [])
    colors = drawn(shown)
    assert set(colors) == {"chart", "bars", "tree", "heat", "timeline"}
    assert min(colors.values()) > 3
    assert "a step" in shown.page.inner_text(".about")


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("", 12_340, "12,340"),
        ("s", 1_234.5, "1,235 s"),
        ("s", 0.025, "25 ms"),
        ("", 0.001, "0.001"),
        ("", -1_500, "-1,500"),
    ],
)
def test_numbers_at_axes_are_written_as_those_of_tables(of_trace, opened, kind, value, shown):
    """GIVEN a value of an axis or a tip THEN four digits, separated in thousands, and its unit"""
    assert opened(of_trace).page.evaluate("([kind, value]) => quantity(kind, value)", [kind, value]) == shown


def test_a_table_sorts_and_filters(of_trace, opened):
    """GIVEN the kernel table WHEN sorted by name, by count, filtered THEN its rows are those, and are counted"""
    page = opened(of_trace).page
    table = page.locator("div.table[data-name=kernels]")
    first = table.locator("tbody tr:first-child td:first-child")
    name, count = (table.locator("thead button").filter(has_text=heading) for heading in ("name", "count"))
    name.click()
    assert first.inner_text() == "gemm a"
    name.press("Enter")  # by the keyboard, the other way round
    assert first.inner_text() == "gemm z"
    assert table.locator("thead th").first.get_attribute("aria-sort") == "descending"
    count.click()
    assert first.inner_text() in {"gemm a", "gemm b", "gemm c", "gemm d"}  # these four ran twice
    table.locator("input").fill("GEMM_Q")
    assert table.locator("tbody tr").count() == 1
    assert first.inner_text() == "gemm q"
    assert table.locator(".count").inner_text() == "1 of 1 rows"
    table.locator("input").fill("")
    table.locator("button.more").click()
    assert table.locator("tbody tr").count() == 26


def test_the_timeline_zooms_searches_and_leads_to_the_row(of_trace, opened):
    """GIVEN the timeline WHEN zoomed by key, searched, clicked THEN it shows less, the hit, and the kernel's row"""
    page = opened(of_trace).page
    figure = page.locator("figure.timeline")
    span = float(figure.get_attribute("data-to"))
    figure.locator("canvas").focus()
    page.keyboard.press("+")
    narrower = float(figure.get_attribute("data-to")) - float(figure.get_attribute("data-from"))
    assert narrower == pytest.approx(0.6 * span, rel=0.01)
    figure.locator("input").fill("gemm_q")
    assert figure.locator(".count").inner_text().startswith("1 found")
    figure.locator("input").press("Enter")
    assert figure.locator(".tip").inner_text().startswith("gemm q: 20.00 us")
    assert figure.locator(".tip").inner_text().endswith(" (gemm_q)")
    place = figure.locator("canvas").bounding_box()
    rows = page.evaluate("document.querySelectorAll('figure.timeline .legend span').length")
    assert rows >= 1
    found = False
    for y in range(20, int(place["height"]), 6):  # the item found is in the middle, in one of the lanes
        figure.locator("canvas").click(position={"x": place["width"] / 2, "y": y})
        if found := page.locator("tr.found").filter(has_text="gemm q").count() > 0:
            break
    assert found


def test_a_wide_table_says_that_it_goes_on(of_trace, opened):
    """GIVEN a window of 400 pixels WHEN a table is moved by keys THEN it has said how many columns are hidden, its
    first one stays and leaves room for others, it has a scroll bar, and the page is not wider than the window"""
    page = opened(of_trace, viewport={"width": 400, "height": 800}).page
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    table = page.locator("div.table[data-name=kernels]")
    scroll, said = table.locator(".scroll"), table.locator(".beyond")
    heads = table.locator("thead th")
    shown = sum(head.bounding_box()["x"] + head.bounding_box()["width"] <= 400 for head in heads.all())
    assert said.inner_text() == f"{heads.count() - shown} more columns to the right \u2192"
    assert heads.first.bounding_box()["width"] < 200
    assert scroll.evaluate("(scroll) => getComputedStyle(scroll, '::-webkit-scrollbar').height") == "11.2px"  # 0.7rem
    before = heads.first.bounding_box()["x"]
    heads.last.locator("button").focus()
    page.wait_for_function("document.querySelector('[data-name=kernels] .beyond').textContent.includes('left')")
    assert heads.first.bounding_box()["x"] == before
    assert table.locator("tbody td").first.bounding_box()["x"] == before
    assert said.inner_text() == "\u2190 more columns to the left"


def test_a_phase_has_the_colour_that_pictures_and_terminals_give_it(of_trace, opened):
    """GIVEN a page, light or dark THEN the legend of the timeline has the colours of render.colours"""
    for scheme in ("light", "dark"):
        page = opened(of_trace, color_scheme=scheme).page
        said = "(all) => all.map((one) => [one.dataset.key, getComputedStyle(one).backgroundColor])"
        swatches = dict(page.locator("figure.timeline .legend i").evaluate_all(said))
        assert {"other", "launch-starved"} <= set(swatches)
        for key, colour in swatches.items():
            parts = [int(colours.OF[key].hex[at : at + 2], 16) for at in (1, 3, 5)]
            assert colour == f"rgb({', '.join(map(str, parts))})"


def test_of_two_traces_each_timeline_leads_to_its_own_table(tmp_path, opened):
    """GIVEN a report of two traces whose address names the second's timeline WHEN opened THEN that is at the top when
    all is drawn, and a name that both have leads to the second's kernels"""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    file = report(*(trace(tmp_path / name, ["gemm_a", f"gemm_{name}", "gemm_z"]) for name in ("a", "b")))
    page = opened(file).page
    page.goto(f"{file.resolve().as_uri()}#timeline-2")
    page.reload()
    page.wait_for_selector("html[data-ready=yes]")
    assert 0 <= page.evaluate("document.getElementById('timeline-2').getBoundingClientRect().top") < 30
    page.evaluate(
        "document.dispatchEvent(new CustomEvent('perfkit-name',"
        " { detail: { name: 'gemm_a', from: document.querySelectorAll('figure.timeline')[1] } }))"
    )
    place = "document.querySelector('tr.found').closest('section').id"
    assert page.evaluate(place) == "kernels-2"
    search = page.locator("figure.timeline").nth(1).locator("input")
    search.fill("gemm")
    search.press("Shift+Enter")  # from the end
    assert page.locator("figure.timeline .count").nth(1).inner_text() == "3 of 3"


def test_modules_are_enlarged_from_the_keyboard_and_tips_can_be_read(of_trace, opened):
    """GIVEN a dark page WHEN a module is chosen from the list THEN it takes the width, and a button leads back; the tip
    of a chart has the page's colours, and no text in another"""
    page = opened(of_trace, color_scheme="dark").page
    tools = page.locator("figure.tree .tools")
    tools.locator("select").select_option(label="layers")
    page.wait_for_selector("figure.tree button:text('Up from layers')")
    assert tools.locator("option").all_inner_texts()[1:] == ["layers.0", "layers.1"]
    plot = page.locator("figure.tree .plot")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 14)
    tip = page.locator(".bk-Tooltip")
    tip.wait_for()
    assert "with children: " in tip.evaluate("(tip) => tip.shadowRoot.textContent")
    assert tip.evaluate("(tip) => getComputedStyle(tip).backgroundColor") == "rgb(26, 32, 39)"
    labels = "(tip) => [...tip.shadowRoot.querySelectorAll('.bk-tooltip-row-label')].map((one) => one.textContent)"
    assert set(tip.evaluate(labels)) <= {"", ": "}


def test_the_switch_and_the_system_choose_the_theme(of_trace, opened):
    """GIVEN a dark system WHEN opened, then switched to light THEN page and charts follow"""
    page = opened(of_trace, color_scheme="dark").page
    surface = "getComputedStyle(document.querySelector('section')).backgroundColor"
    assert page.evaluate(surface) == "rgb(26, 32, 39)"
    assert page.get_attribute("html", "data-drawn") == "dark"
    page.locator("#theme").press("Enter")
    page.wait_for_selector("html[data-drawn=light]")
    assert page.evaluate(surface) == "rgb(255, 255, 255)"


def test_a_theme_chosen_while_the_page_loads_is_drawn(of_trace, opened):
    """GIVEN somebody who presses the switch as soon as it works WHEN all is there THEN it is drawn, and in light"""
    at_once = """addEventListener("DOMContentLoaded", () => {
      const button = document.getElementById("theme");
      new MutationObserver((_, seen) => { seen.disconnect(); button.click(); }).observe(button, { childList: true });
    });"""
    shown = opened(of_trace, script=at_once, color_scheme="dark")
    assert shown.errors == []
    assert shown.page.get_attribute("html", "data-drawn") == "light"
    assert min(drawn(shown).values()) > 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(of_trace, opened, scheme):
    """GIVEN a report WHEN axe-core looks at it (landmarks, names, contrast, tables) THEN no rule is violated"""
    pytest.importorskip("axe_core_python")
    found, looked_at = violations(opened(of_trace, color_scheme=scheme).page)
    assert looked_at > 50  # a rule that fails to run is no violation either
    assert found == []


def test_hostile_names_are_text(tmp_path, opened):
    """GIVEN 50,000 kernels, among them names of HTML, 10 kB, and right-to-left text WHEN opened THEN they are text"""
    names = [*HOSTILE, *(f"kernel_{number}" for number in range(50_000 - len(HOSTILE)))]
    file = report(trace(tmp_path, names, shapes=False))
    assert file.stat().st_size < 2.5e6
    shown = opened(file)
    page = shown.page
    assert (shown.errors, shown.requests) == ([], [])
    assert page.title() != "owned"
    assert min(drawn(shown).values()) > 2
    table = page.locator("div.table[data-name=kernels]")
    table.locator("input").fill("document.title")
    cells = table.locator("tbody bdi")
    assert "</script><script>document title='owned'" in cells.all_inner_texts()  # its short form
    assert HOSTILE[0] in [cell.get_attribute("title") for cell in cells.all()]
    assert page.locator("main img, main script").count() == 0
    table.locator("input").fill("kkkkkk")
    assert len(table.locator("tbody bdi").first.inner_text()) < 100
    assert page.evaluate("getComputedStyle(document.querySelector('td bdi')).unicodeBidi") == "isolate"


def test_a_run_and_a_comparison(tmp_path, opened):
    """GIVEN two runs of four steps WHEN reported together THEN pairs of bars, each sample, and warm-up shaded"""
    folders = []
    for name, factor in (("a", 1.0), ("b", 1.5)):
        steps = tuple(
            StepSample(wall_s=factor * wall, phases_s={"forward": factor * wall / 3, "backward": factor * wall / 2})
            for wall in (0.02, 0.021, 0.022, 0.02)
        )
        folder = tmp_path / name
        folder.mkdir()
        records.save(runs.saved(steps=steps), folder)
        folders.append(folder)
    shown = opened(report(*folders))
    assert (shown.errors, shown.requests) == ([], [])
    colors = drawn(shown)
    assert {"bars", "chart"} <= set(colors)
    assert min(colors.values()) > 3
    text = shown.page.inner_text("main")
    assert "B takes 1.500 times as long as A" in text
    pytest.importorskip("axe_core_python")
    assert violations(shown.page)[0] == []  # tables of one title, too, are regions of different names
    assert "4 steps: median 20.50 ms, from 20.00 ms to 22.00 ms" in text


def test_what_failed_in_a_sweep_is_a_cross_within_the_plot(tmp_path, opened):
    """GIVEN a sweep with a point that ran out of memory and one that failed WHEN reported THEN each is a cross, below
    the upper end of the axis, and the legend says which"""
    file = tmp_path / "sweep.csv"
    file.write_bytes((Path(__file__).parents[1] / "fixtures" / "sweep_v1.csv").read_bytes())
    page = opened(report(file)).page
    crosses = """
    Bokeh.documents.flatMap((all) => [...all._all_models.values()]).filter((one) => one.type === "Figure").flatMap(
      (f) => f.renderers.filter((one) => one.glyph.type === "Scatter" && one.glyph.marker.value === "x")
        .map((one) => [...one.data_source.get("y")].every((y) => y < f.y_range.end)))"""
    assert page.evaluate(crosses) == [True] * 4
    assert page.locator(".legend .missing").all_inner_texts() == ["\u00d7"] * 4


def test_a_snapshot_draws_with_its_phases_above(tmp_path, opened):
    """GIVEN an allocator's snapshot of a step with annotations WHEN its report is opened THEN the timeline is drawn,
    with a box in the colour of each phase above the areas"""
    file = tmp_path / "step.pickle"
    file.write_bytes(pickle.dumps(training.step()))
    shown = opened(report(file))
    assert (shown.errors, shown.requests) == ([], [])
    assert min(drawn(shown).values()) > 3
    boxes = """
    Bokeh.documents.flatMap((all) => [...all._all_models.values()]).filter((one) => one.type === "BoxAnnotation").map(
      (one) => one.fill_color)"""
    phases = {colours.OF[phase].hex.lower() for phase in ("forward", "backward", "optimizer")}
    assert phases <= {str(colour).lower() for colour in shown.page.evaluate(boxes)}


@pytest.mark.corpus
@pytest.mark.parametrize(
    "name", ["kineto/sglang_decode_capture.json.gz", "nsys/rtx3080_tiny.sqlite", "memory/llama_2024_format.pickle.gz"]
)
def test_the_report_of_a_real_trace_draws(name, tmp_path, opened):
    """GIVEN a trace of another project WHEN its report is opened THEN all is drawn, nothing is requested"""
    file = tmp_path / "report.html"
    assert cli.main(["report", str(corpus_file(name)), "-o", str(file)]) == 0
    shown = opened(file)
    assert (shown.errors, shown.requests) == ([], [])
    assert min(drawn(shown).values()) > 2
