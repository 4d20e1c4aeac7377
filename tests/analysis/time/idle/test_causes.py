"""What idle time costs, and what is behind it."""

from __future__ import annotations

from perfkit.analysis.time.idle import causes
from perfkit.analysis.time.idle.kinds import Cause, Kind
from tests.analysis.time.idle.traces import account_of, loop


def test_what_causes_cost_and_what_is_behind_them():
    """GIVEN 33 ns a step starved and 35 blocked WHEN asked for costs THEN per step, and the places by their time"""
    partial = account_of(loop()).partial
    assert causes.wall_ns(partial) == 100
    assert {cause: (cost.ns, cost.share) for cause, cost in causes.costs(partial).items()} == {
        Cause.BLOCKING: (35, 0.35),
        Cause.LAUNCH_STARVED: (33, 0.33),
    }
    assert causes.cost_of(partial, Kind.COMPUTE).ns == 32
    [item] = causes.behind(partial, Cause.BLOCKING, "operator")
    assert (item.name, item.cost.ns, item.cost.share, item.count) == ("aten::item", 35, 1.0, 2)
    assert [place.name for place in causes.behind(partial, Cause.BLOCKING, "call")] == ["cudaStreamSynchronize"]
    scopes = causes.behind(partial, Cause.LAUNCH_STARVED, "scope")
    assert [(place.name, place.cost.ns) for place in scopes] == [("optimizer", 26), ("fc", 5), ("<unattributed>", 2)]
    assert [place.name for place in causes.behind(partial, Cause.LAUNCH_STARVED, "phase", most=1)] == ["optimizer"]
    assert causes.waits(partial)["idle_ns"].tolist() == [70]
