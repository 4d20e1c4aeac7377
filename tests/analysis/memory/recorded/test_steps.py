"""Memory from step to step, and what steps leave behind."""

from __future__ import annotations

from perfkit.analysis.memory.recorded import account, snapshot, steps
from perfkit.analysis.memory.recorded.account import MemoryAccount
from tests.analysis.columns import assert_regular
from tests.analysis.memory.recorded.snapshots import ADAM, CALL, ENGINE, MAIN, columns, event, pickled


def accounted(count: int, leak: int) -> MemoryAccount:
    """Steps that each keep an activation of 50 B until backward, and leave something behind."""
    events = []
    for number in range(count):
        events += [event("alloc", 8, 50, CALL, MAIN)]
        events += [event("alloc", 100 + number, leak, "log.py(4): append", CALL, MAIN)] if leak else []
        events += [event("alloc", 16, 7, ENGINE), event("free_completed", 8, 50, ENGINE)]
        events += [
            event("alloc", 24, 3, ADAM),
            event("free_completed", 24, 3, ADAM),
            event("free_completed", 16, 7, ADAM),
        ]
    lives = snapshot.lifetimes(columns(pickled(events)))
    return MemoryAccount(lives, account.the_peak(lives))


def test_each_step_has_its_peak_and_its_end():
    """GIVEN 20 B more after each step, THEN the ends say it, and the peak is 57 B above what was there before."""
    table = steps.steps(accounted(3, 20))
    assert_regular(table)
    assert table.frame["peak_bytes"].tolist() == [77, 97, 117]
    assert table.frame["end_bytes"].tolist() == [20, 40, 60]
    assert table.frame["change_bytes"].tolist()[1:] == [20, 20]


def test_what_several_steps_leave_behind_is_named_by_its_place():
    """GIVEN four steps, the last of which nothing can be said of, THEN three left something, in the same line."""
    table = steps.left(accounted(4, 20))
    assert_regular(table)
    (row,) = table.frame.to_dict("records")
    assert (row["count_steps"], row["count"], row["bytes"], row["frame"]) == (
        3,
        3,
        60,
        "log.py(4): append < train.py(1): <module>",
    )


def test_steps_that_free_all_leave_nothing():
    assert len(steps.left(accounted(4, 0))) == 0
