"""Findings about where the steps of a trace come from."""

from __future__ import annotations

from perfkit.analysis.attribution.steps import StepSource, spelled
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.summary import Scalars
from perfkit.schema import units
from perfkit.schema.finding import Evidence, Finding, Rule

_SHOWN = 3

STEPS_FROM_RANGES = Rule("steps-from-ranges", "trace", "ranges that the user named serve as steps")


def steps_from_ranges(account: Account, _: Scalars) -> Finding | None:
    """Which of the user's ranges serve as steps, where nothing in the file was written as a step."""
    source, steps = account.attribution.host.step_source, account.attribution.steps
    if source not in (StepSource.NAMED, StepSource.REPEATED):
        return None
    names = list(dict.fromkeys(spelled(step.name) for step in steps))
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    why = (
        f"{'its' if len(steps) == 1 else 'their'} name says so"
        if source is StepSource.NAMED
        else "they repeat and hold nearly all that is launched"
    )
    what = units.many(len(steps), "range", "ranges")
    serve = "serves as a step" if len(steps) == 1 else "serve as steps"
    text = f"{what} named {shown} {serve}: the file has no ProfilerStep, and {why}"
    return Finding(STEPS_FROM_RANGES, text, evidence=(Evidence("steps", {"step": 0}),), sure="guessed")
