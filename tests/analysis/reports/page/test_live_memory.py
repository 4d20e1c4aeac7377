"""The memory timeline: areas that add up to the peak, the phases above them, the peak where it is. By hand."""

from __future__ import annotations

from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.memory.lifetimes import Kind
from perfkit.analysis.memory.recorded import account as accounts
from perfkit.analysis.memory.recorded.account import MemoryAccount
from perfkit.analysis.reports import recorded_memory
from perfkit.analysis.reports.page import live_memory
from perfkit.schema.chart import Chart, Panel
from tests.analysis.memory.lives import Piece, account_of, lives_of, span

PIECES = (
    Piece(100, kind=Kind.PARAMETERS),
    Piece(50, 0, 3, Kind.ACTIVATIONS, phase=Phase.FORWARD),
    Piece(20, 2, 3, Kind.TEMPORARIES, phase=Phase.BACKWARD),
)
SPANS = (span(0, 1, Phase.FORWARD), span(2, 4, Phase.BACKWARD))


def panel_of(account: MemoryAccount) -> Panel:
    [figure] = live_memory.section(account).figures
    assert isinstance(figure, Chart)
    return figure.rows[0][0]


def test_areas_add_up_and_the_peak_is_marked():
    """Moments: before all (100), 0 (150), 2 (170, the peak), 3 (100)."""
    panel = panel_of(account_of(*PIECES, spans=SPANS))
    stacked = [series for series in panel.series if series.look == "stack"]
    assert [(series.label, series.y) for series in stacked] == [
        ("parameters", (100.0, 100.0, 100.0, 100.0)), ("activations", (0.0, 50.0, 50.0, 0.0)),
        ("temporaries", (0.0, 0.0, 20.0, 0.0)),
    ]  # fmt: skip
    peak = panel.series[-1]
    assert (peak.label, peak.x, peak.y) == ("peak, 170 B", (3.0,), (170.0,))
    assert panel.strip == ((1.0, 3.0, "forward"), (3.0, 4.0, "backward"))
    assert panel.x_title == "allocations and frees"


def test_times_are_seconds_since_the_first_event():
    seconds = (5, 6, 7, 9, 10)
    lives = lives_of(*PIECES, spans=SPANS, time=[second * 10**9 for second in seconds])
    panel = panel_of(MemoryAccount(lives, accounts.the_peak(lives)))
    assert panel.series[0].x == (0.0, 0.0, 2.0, 4.0)
    assert panel.x_quantity == "s"


def test_a_recording_of_nothing_lacks_a_figure():
    assert "no allocation" in live_memory.section(account_of()).lacking


def test_the_part_of_a_page_has_the_sentence_the_figure_and_the_tables():
    account = account_of(*PIECES, spans=SPANS)
    part = live_memory.part(account, recorded_memory.report(account, "x"), "x.pickle")
    [section] = part.sections
    assert section.takeaway == "the peak is 170 B, in backward"
    assert part.findings[0].what.startswith("peak 170 B in backward")
    assert {"phases", "kinds", "parts", "largest", "allocator"} <= {table.name for table in section.tables}
