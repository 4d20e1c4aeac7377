"""What `--plot` asks for: names, files, or both; and what it says where that cannot be drawn."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfkit.analysis.reports.page.pictures import Plot
from perfkit.commands.pictures import Plots, out_of_pictures, wanted
from perfkit.errors import UsageError
from perfkit.schema.chart import Chart
from perfkit.schema.page.pictures import Picture

NAMES = ("roofline", "icicle", "wall_time")


def _nothing(_: str) -> Picture:
    raise UsageError("there is no shape")


PLOTS: tuple[Plot[str], ...] = (
    Plot("roofline", "", lambda title: Picture(figure=Chart(rows=()), title=title)),
    Plot("icicle", "", _nothing),
)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("words", "files"),
    [
        (["icicle"], [("icicle", "icicle.png")]),
        (["icicle", "out.svg"], [("icicle", "out.svg")]),
        (["icicle", "roofline", "out.pdf"], [("icicle", "icicle.png"), ("roofline", "out.pdf")]),
        (["wall_time.svg"], [("wall_time", "wall_time.svg")]),
        (["mine.png", "icicle"], [("", "mine.png"), ("icicle", "icicle.png")]),
        ([], []),
    ],
)
def test_names_and_files(words, files):
    assert [(one.name, str(one.path)) for one in wanted(words, NAMES)] == files


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["icycle"], "did you mean icicle"),
        (["wall-time"], "did you mean wall_time"),
        (["nothing"], "choose from roofline, icicle, wall_time"),
        (["icicle,roofline"], "put spaces between names"),
        (["icicle.txt"], "use .png, .svg, .pdf"),
        (["icicle", "a.png", "roofline", "a.png"], "the same file twice"),
        (["icicle", "nowhere/a.png"], "there is no directory nowhere"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_computed(words, why):
    with pytest.raises(UsageError, match=why):
        wanted(words, NAMES)


def test_a_path_may_follow_the_pictures():
    """GIVEN a trace, and a picture of before that is to be written anew THEN only the first is a path"""
    for name in ("trace.json", "old.png"):
        Path(name).touch()
    assert out_of_pictures(["icicle", "old.png", "trace.json"], NAMES) == (("icicle", "old.png"), ("trace.json",))


def test_what_can_be_drawn_is_drawn_before_the_refusal(capsys):
    """GIVEN a picture that lacks something, and one that does not THEN one file, its name, and what is lacking"""
    plots = Plots(["icicle", "roofline"], NAMES)
    plots.offer(PLOTS, "a trace")
    with pytest.raises(UsageError, match="--plot icicle: there is no shape"):
        plots.draw()
    assert [path.name for path in Path().iterdir()] == ["roofline.png"]
    assert capsys.readouterr().err == "wrote roofline.png\n"


def test_a_file_alone_gets_the_first_picture_there_is():
    plots = Plots(["mine.svg"], NAMES)
    plots.offer(PLOTS, "a trace")
    plots.draw()
    assert Path("mine.svg").read_text().startswith("<?xml")


def test_what_is_not_here_says_what_is():
    plots = Plots(["wall_time"], NAMES)
    plots.offer(PLOTS, "a trace")
    with pytest.raises(UsageError, match="nothing here to draw it of; choose from roofline, icicle"):
        plots.draw()
