"""The report of a recording of memory: the first sentence, sums that hold, and what is beside them. By hand."""

from __future__ import annotations

import pytest

from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.memory.lifetimes import Kind
from perfkit.analysis.memory.recorded import account as accounts
from perfkit.analysis.memory.recorded import snapshot as snapshots
from perfkit.analysis.memory.recorded.account import MemoryAccount
from perfkit.analysis.memory.recorded.live import Peak
from perfkit.analysis.reports import recorded_memory, two_memories
from tests.analysis.columns import assert_regular
from tests.analysis.memory.lives import Piece, account_of, lives_of, span
from tests.analysis.memory.recorded import training
from tests.analysis.memory.recorded.snapshots import block, columns, event, pickled
from tests.runs import quick

GIB = 2**30
SPANS = (span(0, 1, Phase.FORWARD), span(2, 3, Phase.BACKWARD))


def training_account() -> MemoryAccount:
    """8 GiB of activations of two layers and 4 of parameters, when the last layer's backward begins: 12 GiB."""
    return account_of(
        Piece(4 * GIB, kind=Kind.PARAMETERS, scope="layers.0"),
        Piece(4 * GIB, 0, 3, Kind.ACTIVATIONS, "layers.0", Phase.FORWARD),
        Piece(3 * GIB, 1, 3, Kind.ACTIVATIONS, "layers.11", Phase.FORWARD),
        Piece(1 * GIB, 2, 3, Kind.TEMPORARIES, "layers.11", Phase.BACKWARD),
        spans=SPANS,
    )


def test_the_answer_first():
    found = recorded_memory.held(training_account())
    assert found.what == (
        "peak 12.0 GiB in backward of layers.11, of which activations 7.0 GiB (58.3%), parameters 4.0 GiB (33.3%),"
        " temporaries 1.0 GiB (8.33%)"
    )
    assert found.where == "backward of layers.11"


def test_another_moment_says_how_far_it_is_from_the_peak():
    account = training_account()
    lives = account.lives
    report = recorded_memory.report(MemoryAccount(lives, Peak(0, 8 * GIB, 0)), "x")
    assert report.findings[0].what.startswith("8.0 GiB live in forward of layers.0, 66.7% of the peak (12.0 GiB), of")
    assert (report.summary["peak_bytes"], report.summary["at_bytes"]) == (12 * GIB, 8 * GIB)


def test_rows_add_up_in_every_table_of_what_lives():
    report = recorded_memory.report(training_account(), "x")
    for name in ("kinds", "parts", "peak"):
        table = report.table(name)
        assert table is not None
        assert_regular(table)
        assert table.frame["bytes"].sum() == 12 * GIB
    assert report.summary["peak_bytes"] == sum(report.summary["kinds"].values()) == 12 * GIB
    parts = report.table("parts")
    assert parts is not None
    assert parts.frame.iloc[0].to_dict() == {
        "kind": "activations", "scope": "layers.*", "x": 2, "bytes": 7 * GIB, "share": pytest.approx(7 / 12),
        "pieces": 2,
    }  # fmt: skip


def test_the_peak_of_each_phase():
    table = recorded_memory.phases(training_account())
    assert_regular(table)
    assert table.frame[["phase", "peak_bytes", "where"]].to_numpy().tolist() == [
        ["forward", 11 * GIB, "forward of layers.11"], ["backward", 12 * GIB, "backward of layers.11"],
    ]  # fmt: skip


def test_every_table_of_a_recording_is_regular_and_there_where_it_can_be():
    """GIVEN a snapshot of one step THEN there is no table of steps or of the formula, and all others hold."""
    snapshot = columns(training.step())
    lives = snapshots.lifetimes(snapshot)
    report = recorded_memory.report(MemoryAccount(lives, accounts.the_peak(lives), snapshot), "x")
    assert set(report.names) == set(recorded_memory.NAMES) - {"devices", "steps", "left", "predicted"}
    for table in report.tables:
        assert_regular(table)
    blocks = report.table("blocks")
    assert blocks is not None  # tests/analysis/memory/recorded/test_saved.py: 104 B each of two blocks, 52 elsewhere
    assert blocks.frame[["block", "x", "each_bytes", "bytes"]].to_numpy().tolist() == [
        ["block *", 2, 104.0, 208], ["", 1, 52.0, 52],
    ]  # fmt: skip
    operations = report.table("kept_operations")
    assert operations is not None
    assert operations.frame.iloc[0]["each_bytes"] == 64


def test_what_an_allocator_has_beside_what_was_asked_for():
    """GIVEN 1000 B in a block of 1024 of a segment of 2 MiB THEN 24 B are rounding."""
    snapshot = columns(pickled([event("alloc", 0, 1000)], blocks=[block(0, 1000, rounded=1024)], total=2**21))
    account = MemoryAccount(lives_of(Piece(1000, 0)), Peak(0, 1000, 0), snapshot)
    summary = recorded_memory.summary(account)
    assert (summary["rounding_bytes"], summary["reserved_bytes"]) == (24, 2**21)
    assert "reserved 2.0 MiB: 24 B rounding, 2.0 MiB free" in recorded_memory.held(account).what


def test_segments_that_cannot_hold_what_lives():
    """GIVEN 3 MiB that live and a segment of 2 MiB THEN not all segments are there, and none is free."""
    snapshot = columns(pickled([event("alloc", 0, 3 * 2**20)], blocks=[block(0, 1000)], total=2**21))
    said = recorded_memory.held(MemoryAccount(lives_of(Piece(3 * 2**20, 0)), Peak(0, 3 * 2**20, 0), snapshot)).what
    assert "reserved 2.0 MiB by the segments in the file, which are not all of those that its events need" in said
    assert "free" not in said


def test_the_highest_device_first_and_all_are_listed():
    account = account_of(Piece(10, 0, device=0), Piece(30, 1, device=1))
    assert recorded_memory.held(account).what.endswith("on cuda:1; cuda:0 10 B")
    table = recorded_memory.devices(account)
    assert_regular(table)
    assert table.frame["device"].tolist() == ["cuda:1", "cuda:0"]
    assert "devices" in recorded_memory.report(account, "x").names


def test_the_residual_stream_by_its_formula():
    """batch 2 x context 16 x d_model 32 x 4 B = 4 KiB."""
    config = quick(batch_size=2, context_length=16, d_model=32)
    [found] = recorded_memory.residual_stream(config)
    assert found.what == "the residual stream is 4.0 KiB: batch 2 x context 16 x d_model 32 x 4 B"
    assert list(recorded_memory.residual_stream(None)) == []


def test_a_recording_of_nothing():
    report = recorded_memory.report(account_of(), "x")
    assert report.findings[0].what == "peak 0 B"
    assert report.summary["peak_bytes"] == 0


def test_two_recordings_rank_what_makes_the_difference():
    """GIVEN B without 3 of 7 GiB of activations and with 1 GiB of state THEN it is 2 GiB lower: -3 and +1."""
    b = account_of(
        Piece(4 * GIB, kind=Kind.PARAMETERS, scope="layers.0"), Piece(1 * GIB, kind=Kind.OPTIMIZER),
        Piece(4 * GIB, 0, 3, Kind.ACTIVATIONS, "layers.0", Phase.FORWARD),
        Piece(1 * GIB, 2, 3, Kind.TEMPORARIES, "layers.11", Phase.BACKWARD), spans=SPANS,
    )  # fmt: skip
    report = two_memories.report(training_account(), b, "a and b")
    assert report.findings[0].what == (
        "B's peak is 2.0 GiB (16.7%) lower than A's: 10.0 GiB in backward of layers.11, against 12.0 GiB in backward of"
        " layers.11; activations 3.0 GiB less, optimizer state 1.0 GiB more"
    )
    assert report.summary["difference_bytes"] == -2 * GIB
    for table in report.tables:
        assert_regular(table)
        sums = [int(table.frame[name].sum()) for name in ("a_bytes", "b_bytes", "difference_bytes")]
        assert sums == [12 * GIB, 10 * GIB, -2 * GIB]
    assert report.main_table.frame.iloc[0][["kind", "scope", "difference_bytes"]].tolist() == [
        "activations", "layers.11", -3 * GIB,
    ]  # fmt: skip


def test_two_of_the_same_peak():
    assert two_memories.report(training_account(), training_account(), "x").findings[0].what == (
        "A and B have the same peak, 12.0 GiB in backward of layers.11"
    )
