"""Tables of what lives at a moment, and moments as a person writes them."""

from __future__ import annotations

from typing import Any

import pytest

from perfkit.analysis.memory.lifetimes import Kind
from perfkit.analysis.memory.recorded import account, live, snapshot, tables
from perfkit.analysis.memory.recorded.account import MemoryAccount
from perfkit.errors import UsageError
from tests.analysis.columns import assert_regular
from tests.analysis.memory.recorded import training
from tests.analysis.memory.recorded.snapshots import columns, event, pickled


def accounted(raw: dict[str, Any], at: str = "peak") -> MemoryAccount:
    lives = snapshot.lifetimes(columns(raw))
    return MemoryAccount(lives, account.moment(lives, at), why=lambda size, _: f"{size} B")


def test_rows_by_kind_and_scope_add_up_to_the_peak():
    """The peak falls at Adam's last temporary: 2200 of parameters, gradients and twice that of states, 508 of forward's
    logits and loss, and 1000 of the temporary."""
    found = accounted(training.step())
    table = tables.peak(found)
    assert_regular(table)
    sums = table.frame.groupby("kind")["bytes"].sum().to_dict()
    assert sums == {
        "parameters": 2200, "gradients": 2200, "optimizer state": 4400, "activations": 508, "temporaries": 1000,
    }  # fmt: skip
    assert table.frame["bytes"].sum() == found.at.bytes == 10_308
    assert set(table.frame[table.frame["kind"] == "gradients"]["scope"]) == {"", "block 0", "block 1"}


def test_equal_pieces_of_one_stack_are_a_row():
    """GIVEN the moment when all activations live, THEN the scores of both blocks, 64 B each, are a row."""
    raw = training.step()
    lives = snapshot.lifetimes(columns(raw))
    last = max(row for row, one in enumerate(raw["device_traces"][0]) if one["addr"] == 31)
    table = tables.largest(MemoryAccount(lives, live.Peak(0, 0, last), why=lambda size, _: f"{size} B"))
    assert_regular(table)
    row = table.frame[table.frame["bytes"] == 64].iloc[0]
    assert (row["count"], row["scope"], row["why"]) == (2, "block 0 and 1 more", "64 B")
    assert row["frame"] == "attn.py(7): softmax < block.py(3): forward"


def test_over_time_has_the_peak_however_few_moments():
    """GIVEN three moments for 60 events, THEN the largest is the peak, and kinds add up at each."""
    found = accounted(training.step())
    table = tables.over_time(found, 3)
    assert_regular(table)
    frame = table.frame
    assert (len(frame), frame["bytes"].max()) == (3, found.at.bytes)
    parts = frame[[column for column in frame.columns if column.endswith("_bytes")]]
    assert parts.sum(axis="columns").tolist() == frame["bytes"].tolist()


TIMED = [
    event("alloc", 8, 10, time_us=1000), event("alloc", 16, 5, time_us=3000),
    event("free_completed", 8, 10, time_us=4000),
]  # fmt: skip


@pytest.mark.parametrize(("text", "size"), [("peak", 15), ("0ms", 10), ("1.9 ms", 10), ("2ms", 15), ("3000us", 5)])
def test_a_moment_is_the_peak_or_a_time_after_the_first_event(text: str, size: int):
    found = accounted(pickled(TIMED), text)
    assert found.at.bytes == size == found.lives.size[found.rows].sum()


def test_a_step_s_moment_is_its_peak():
    found = accounted(training.step(), "step:0")
    assert (found.at.bytes, found.at.moment) == (10_308, accounted(training.step()).at.moment)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("noon", "write peak, 12.5ms or step:3"), ("1s", "ends 3.000 ms after it begins"),
        ("step:1", "nothing in it says steps"),
    ],
)  # fmt: skip
def test_a_moment_that_is_none_is_refused(text: str, says: str):
    with pytest.raises(UsageError, match=says):
        accounted(pickled(TIMED), text)


def test_a_time_needs_a_recording_with_times_and_a_step_one_that_has_it():
    with pytest.raises(UsageError, match="has no times"):
        accounted(training.step(), "1ms")
    with pytest.raises(UsageError, match="it has 1 step: 0 to 0"):
        accounted(training.step(), "step:7")


def test_of_several_devices_the_fullest_is_looked_at():
    raw = pickled([event("alloc", 8, 10)], [event("alloc", 8, 30)])
    found = accounted(raw)
    assert (found.at.device, found.at.bytes, len(found.rows)) == (1, 30, 1)
    assert found.lives.kind[found.rows].tolist() == [Kind.UNKNOWN]


def test_an_empty_recording_has_empty_tables():
    found = accounted(pickled([]))
    assert (found.at.bytes, len(tables.peak(found)), len(tables.largest(found))) == (0, 0, 0)
    assert len(tables.over_time(found)) == 1
