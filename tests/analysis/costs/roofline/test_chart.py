"""The roofline as a picture: what it shows."""

from __future__ import annotations

import pytest

from perfkit.analysis.costs.roofline.chart import chart
from perfkit.analysis.time.trace_table import View
from perfkit.errors import UsageError
from perfkit.schema.chart import Chart
from tests.analysis.costs.roofline.devices import SQUARE, account_of, one_step, save_peaks, traced
from tests.builders import TraceBuilder


@pytest.fixture(autouse=True)
def _peaks(monkeypatch, tmp_path):
    save_peaks(monkeypatch, tmp_path)


def drawn(b: TraceBuilder) -> Chart:
    return chart(account_of(b).partial, View())


def test_points_below_a_roof():
    """GIVEN a matmul of 50/3 operations a byte at 625 a ns, and additions of 1/12 THEN a point each, in the colour of
    their kind, and the roof of fp32: along 100 bytes a ns to the ridge at 10, then along 1,000 operations a ns"""
    [[panel]] = drawn(one_step()).rows
    roof, *points = panel.series
    assert (panel.title, roof.label, roof.look) == ("Round GPU", "fp32 roof", "roof")
    assert roof.x[1] == pytest.approx(10)
    assert roof.y[1:] == (pytest.approx(1e12), pytest.approx(1e12))
    assert roof.y[0] == pytest.approx(roof.x[0] * 1e11)
    assert [(each.label, len(each.x)) for each in points] == [("matmul", 1), ("elementwise", 2)]
    assert (points[0].x, points[0].y) == ((pytest.approx(50 / 3),), (pytest.approx(625e9),))
    assert points[0].share == (pytest.approx(3_200 / 4_150),)


def test_each_device_has_a_panel():
    b = traced(devices=2)
    for device in range(2):
        b.call("aten::mm", 100 * device + 5, 100 * device + 20, SQUARE)
        b.launched("gemm", 100 * device + 10, 200, 3_400, device=device)
    assert len(drawn(b).rows) == 2


def test_a_device_that_is_not_known_has_points_alone():
    made = drawn(one_step("a card of tomorrow"))
    [[panel]] = made.rows
    assert "roof" not in {series.look for series in panel.series}
    assert panel.title == "device 0: peaks are not known"
    assert not any("roof" in note for note in made.notes)
    assert any("roof" in note for note in drawn(one_step()).notes)


@pytest.mark.parametrize(
    ("b", "why"),
    [
        (TraceBuilder().step(0, 0, 100).range("aten::mm", 5, 40), "needs shapes"),
        (traced().call("mylib::op", 5, 20, [[7]]).launched("odd", 10, 100, 200), "nothing in the trace"),
    ],
)
def test_what_has_no_points_is_refused(b: TraceBuilder, why: str):
    with pytest.raises(UsageError, match=why):
        drawn(b)
