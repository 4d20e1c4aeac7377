"""What a step takes: its wall time or, where the host runs ahead of the device, the time until its work is done."""

from __future__ import annotations

import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.time.account import Account, Selection, account_for
from perfkit.analysis.time.paces import STEP_PACES, StepTime, step_time
from perfkit.trace.load import load
from tests.builders import TraceBuilder, host_step
from tests.corpus import corpus_file


def account_of(b: TraceBuilder, selection: Selection | None = None) -> Account:
    trace = b.build()
    return account_for(trace, attribute(trace), selection)


def time_of(b: TraceBuilder, selection: Selection | None = None) -> StepTime | None:
    return step_time(account_of(b, selection).partial)


def filling(*, waits: bool = True) -> TraceBuilder:
    """Four steps, each of which launches 100 ns of work right away; the first two only fill the queue, and are over
    after 10 ns. The device begins at 5 and is done at 105, 205, 305 and 405; the host waits in the last two, or not."""
    b, borders = TraceBuilder(), ((0, 10), (10, 20), (20, 120), (120, 220)) if waits else ((0, 10), (10, 20), (20, 30))
    for number, (start, end) in enumerate(borders):
        b.step(number, start, end)
        b.launched("k", start + 1, 5 + 100 * number, 105 + 100 * number)
    return b


def test_steps_that_only_fill_the_launch_queue_are_no_measure():
    """GIVEN walls of 10, 10, 100 and 100 ns, work done 105, 205, 305 and 405 after the begin THEN 100, not 55"""
    assert time_of(filling()) == StepTime(ns=100.0, host_ns=55.0, is_pace=True, of=3)
    assert time_of(filling(waits=False)) == StepTime(ns=100.0, host_ns=10.0, is_pace=True, of=2)
    paces = account_of(filling()).partial.of(STEP_PACES)
    assert paces["pace_ns"].tolist() == [105, 100, 100, 100]
    assert paces["growth_ns"].tolist() == [95, 90, 0, 0]
    assert paces["work_ns"].tolist() == [100] * 4


def test_one_step_of_them_says_what_it_can():
    """GIVEN one step WHEN it fills the queue THEN until its work is done; WHEN it finds it full THEN its wall"""
    assert time_of(filling(), Selection(steps=0)) == StepTime(105.0, 10.0, True, 1)
    assert time_of(filling(), Selection(steps=3)) == StepTime(100.0, 100.0, False, 1)


def test_a_last_step_that_waits_for_all_that_was_pending():
    """GIVEN work of 90 ns that was launched before the recording, and a last step that waits for all there is

    THEN the walls of 100, 100, 100 and 190 ns (mean 122.5) hold what the queue held, and a step takes 100
    """
    b = TraceBuilder().event("before", 0, 90)
    for number, end in enumerate((100, 200, 300, 490)):
        b.step(number, 100 * number, end)
        b.launched("k", 100 * number + 1, 100 * number + 90, 100 * number + 190)
    found = time_of(b)
    assert found is not None
    assert (found.ns, found.host_ns, found.of) == (100.0, 122.5, 3)
    paced = account_of(b).partial.of(STEP_PACES)
    assert paced["pace_ns"].tolist() == [190, 100, 100, 100]
    assert paced["growth_ns"].tolist() == [0, 0, 0, -90]


def test_walls_are_believed_where_the_device_lags_by_as_much_as_before():
    """GIVEN steps of 100 ns whose work ends 20 ns after them, each time THEN they take 100 ns, and no words are made"""
    b = TraceBuilder()
    for number in range(4):
        at = 100 * number
        b.step(number, at, at + 100).launched("k", at + 60, at + 70, at + 120)
    assert time_of(b) == StepTime(100.0, 100.0, False, 4)
    one = TraceBuilder().step(0, 0, 100).launched("k", 60, 70, 120)
    assert time_of(one) == StepTime(100.0, 100.0, False, 1)


def test_without_a_device_and_without_steps():
    assert time_of(host_step()) == StepTime(100.0, 100.0, False, 1)
    assert time_of(TraceBuilder().launched("k", 0, 10, 20)) is None


@pytest.mark.parametrize(
    ("name", "of", "host_ms", "ms"),
    [
        # replays say 95.44, 18.66 and 121.2 ms (docs/replay.md: pace of all steps but the first, 0.2% to 0.6% off)
        ("v100_training", 4, 78.83, 95.44),
        ("mi300_resnet_checkpoint_training", 2, 16.21, 18.66),
        ("resnet50_torch19_workers4", 5, 128.25, 121.2),
        # nothing is pending at the end that was not at the begin
        ("resnet50_torch18_workers0", 6, 152.96, 152.96),
        ("a100_ddp_training", 3, 222.37, 222.37),
        ("h100_qwen_0.5b_inference", 1, 47.15, 47.15),
    ],
)
def test_corpus(name: str, of: int, host_ms: float, ms: float):
    trace = load(corpus_file(f"kineto/{name}.json.gz"))
    found = step_time(account_for(trace, attribute(trace)).partial)
    assert found is not None
    assert (found.of, round(found.host_ns / 1e6, 2)) == (of, host_ms)
    assert found.ns / 1e6 == pytest.approx(ms, rel=0.006)
    assert found.is_pace == (ms != host_ms)
