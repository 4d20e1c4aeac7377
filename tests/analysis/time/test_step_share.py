"""Why shares of the steps add up to more than 100%: each reason in a trace made for it, and on two real ones."""

from __future__ import annotations

import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.time.account import Account, account_for
from perfkit.analysis.time.grouping import group_table
from perfkit.analysis.time.partial import merge
from perfkit.analysis.time.step_share import over_the_steps
from perfkit.trace.columns import DeviceKind
from perfkit.trace.load import load
from tests.builders import TraceBuilder, host_step
from tests.corpus import corpus_file


def account(builder: TraceBuilder) -> Account:
    trace = builder.build()
    return account_for(trace, attribute(trace))


def steps() -> TraceBuilder:
    """A step of 100 ns."""
    return TraceBuilder().step(0, 0, 100)


@pytest.mark.parametrize(
    ("trace", "says"),
    [
        (
            steps().launched("k", 10, 20, 90).launched("k", 20, 90, 180),
            "adds up to 160.0%: the device runs behind the host, and still works when a step has ended: it was"
            " busy for 160.0 ns with what steps of 100.0 ns launched",
        ),
        (
            steps().launched("k", 10, 20, 90).launched("k", 20, 20, 90, stream=8),
            "adds up to 140.0%: 70.00 ns ran beside other work of its device",
        ),
        (
            steps().event("k", 0, 50).launched("k", 120, 130, 150).launched("k", 10, 50, 90),
            "adds up to 110.0%: 70.00 ns was launched outside the steps, or before recording",
        ),
        (
            steps().launched("k", 10, 20, 90).launched("k", 20, 20, 90, device=1),
            "adds up to 140.0%: 2 devices work at once",
        ),
        (  # the largest first
            steps().event("k", 0, 30).launched("k", 10, 40, 230)
            .launched("copy", 20, 229, 230, kind=DeviceKind.MEMCPY),
            "adds up to 221.0%: the device runs behind the host, and still works when a step has ended: it was"
            " busy for 190.0 ns with what steps of 100.0 ns launched, and 30.00 ns was launched outside the steps, or"
            " before recording, and 1.000 ns ran beside other work of its device",
        ),
    ],
)  # fmt: skip
def test_each_reason_has_its_time(trace: TraceBuilder, says: str) -> None:
    """GIVEN a step of 100 ns and more device time WHEN grouped THEN a note at the table says why, the largest first"""
    partial = account(trace).partial
    assert over_the_steps(partial) == says
    assert f"; share of step: {says}" in group_table(partial, "component").remarks[0]


def test_a_reason_of_less_than_a_hundredth_of_the_steps_is_left_out() -> None:
    """GIVEN a step of 1000 ns WHEN 9 of 2009 ns, or 10 of 2010, ran beside a kernel THEN not worth saying, worth it"""
    for beside, is_said in ((9, False), (10, True)):
        b = TraceBuilder().step(0, 0, 1000).launched("k", 10, 0, 2000).launched("k", 20, 0, beside, stream=8)
        note = over_the_steps(account(b).partial)
        assert ("beside" in note) == is_said
    only = steps().launched("k", 10, 0, 100).launched("k", 20, 0, 1, stream=8)  # less, but all that there is
    note = over_the_steps(account(only).partial)
    assert note == "adds up to 101.0%: 1.000 ns ran beside other work of its device"


@pytest.mark.parametrize(
    "trace",
    [
        steps().launched("k", 10, 20, 120),  # just 100%
        TraceBuilder().launched("k", 10, 20, 90),  # no steps
        host_step(),
        steps(),
    ],
)
def test_up_to_100_percent_there_is_nothing_to_say(trace: TraceBuilder) -> None:
    assert over_the_steps(account(trace).partial) == ""


def test_reasons_survive_a_merge() -> None:
    """GIVEN two steps of which the second is late WHEN the account is cut and merged THEN the same note"""
    b = steps().step(1, 100, 200).event("k", 0, 10).launched("k", 10, 20, 90).launched("k", 120, 90, 300)
    whole = account(b)
    assert over_the_steps(merge([part.partial for part in whole.parts()])) == over_the_steps(whole.partial) != ""


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "says"),
    [  # 472.454 ms of work in steps of 394.141 ms (docs/attribution.md; issue 11)
        (
            "v100_training",
            ("119.9%", "runs behind the host", "busy for 472.5 ms with what steps of 394.1 ms"),
        ),
        # 31.834 ms without a launch in the file (the same), 100.230 ms in steps of 48.637 ms
        ("mi300_resnet_checkpoint_training", ("206.1%: 31.83 ms was launched outside the steps, or before recording",)),
    ],
)
def test_real_traces(name: str, says: tuple[str, ...]) -> None:
    trace = load(corpus_file(f"kineto/{name}.json.gz"), use_cache=False)
    note = over_the_steps(account_for(trace, attribute(trace)).partial)
    assert all(text in note for text in says)
