"""Memory that grows from step to step."""

from __future__ import annotations

from perfkit.analysis.findings.memory import alive
from perfkit.analysis.memory.recorded import steps
from perfkit.analysis.memory.recorded.account import MemoryAccount
from perfkit.schema import units
from perfkit.schema.finding import Evidence, Finding, Rule

_SEVERAL = 2
"""Steps that leave something behind in one place: the optimizer's state is made in one."""
_HALF = 0.5

GROWING_MEMORY = Rule("growing-memory", "memory", "steps leave memory behind, each of them in the same place: a leak")


def growing_memory(account: MemoryAccount) -> Finding | None:
    """What several steps left behind in one place, where memory at the end of a step grew by it.

    At stake: what is left behind so far.
    """
    by_step, left = steps.steps(account).frame, steps.left(account).frame
    left = left[left["steps"] >= _SEVERAL]
    held = int(left["bytes"].sum())
    if not held or by_step["end_bytes"].iloc[-1] - by_step["end_bytes"].iloc[0] < _HALF * held:
        return None
    most = left.sort_values("bytes", ascending=False, kind="stable").iloc[0]
    place = " at ".join(filter(None, (most["scope"], most["frame"]))) or most["operator"] or "an unknown place"
    each = held / max(int(most["steps"]), 1)
    text = (
        f"memory grows by {units.size(each)} a step: {units.many(int(most['steps']), 'step', 'steps')} left"
        f" {alive.said(account, held)} behind, most of it made in {place}"
    )
    advice = "what keeps results of steps: losses summed without .item(), lists of outputs, hooks, a graph that is kept"
    evidence = (Evidence("left", {"scope": str(most["scope"])}),)
    return Finding(GROWING_MEMORY, text, alive.cost(account, held), evidence, advice, "derived", str(most["scope"]))
