"""Cautions known from reading a file alone, without an account."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from perfkit.schema import units
from perfkit.schema.finding import Finding, Rule
from perfkit.trace.columns import BEGIN_END, NO_TIME, Trace


def findings(trace: Trace) -> list[Finding]:
    """The findings of the checks, in their order."""
    return list(filter(None, (check(trace) for check in CHECKS)))


READING = Rule(
    "reading", "integrity", "something happened while the file was read: it changed, or its cache entry was damaged"
)


def _reading(trace: Trace) -> Finding | None:
    remarks = trace.facts.remarks
    return Finding(READING, "; ".join(remarks)) if remarks else None


TRUNCATED_FILE = Rule("truncated-file", "integrity", "the end of the file is missing; the rest was read")


def _truncated(trace: Trace) -> Finding | None:
    at = trace.facts.truncated_at
    if at is None:
        return None
    text = f"the file ends in the middle, after {units.size(at)}; what is missing is not in the tables"
    return Finding(TRUNCATED_FILE, text)


_MOST_NAMED = 5


def cut_files(names: Sequence[str]) -> Finding:
    """What is said beside whole files of those that end in the middle, by their names."""
    ends = f"ends in the middle: {names[0]}"
    if len(names) > 1:
        more = f", and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
        ends = f"{len(names):,} files end in the middle: {', '.join(names[:_MOST_NAMED])}{more}"
    return Finding(TRUNCATED_FILE, f"{ends}; what is missing is not in the tables, so copy or record it again")


REPAIRED_JSON = Rule(
    "repaired-json",
    "integrity",
    "what was repaired, and how often: backslashes, control characters, `NaN`, bytes that are not UTF-8, and others",
    "repaired JSON",
)
REPAIRED_RANGES = Rule(
    "repaired-ranges",
    "integrity",
    "NVTX ranges that were still open at the end of an nsys export: each lasts to the export's last time",
)


def _repairs(trace: Trace) -> Finding | None:
    repairs = trace.facts.repairs
    if not repairs:
        return None
    text = ", ".join(f"{kind} ({count:,}x)" for kind, count in repairs.items())
    rule = REPAIRED_JSON if trace.recording.capabilities.is_json else REPAIRED_RANGES
    return Finding(rule, f"repaired while reading: {text}")


UNUSABLE_EVENTS = Rule(
    "unusable-events",
    "integrity",
    "events in no table: their start or duration is missing, is not a number, or is more than ten years",
)


def _unusable(trace: Trace) -> Finding | None:
    """Events that are in no table because their times are unusable."""
    ignored = trace.facts.ignored.items()
    unusable = [f"{count:,} {what}" for what, count in ignored if what.endswith(NO_TIME) or what == BEGIN_END]
    if not unusable:
        return None
    text = ", ".join(unusable)
    return Finding(UNUSABLE_EVENTS, f"left out of every table: {text}")


RESOLUTION = Rule("resolution", "integrity", "times are whole microseconds")


def _resolution(trace: Trace) -> Finding | None:
    resolution = trace.facts.resolution_ns
    if resolution == 1:
        return None
    text = f"times are whole microseconds: kernels of a few us are off by up to {resolution} ns"
    return Finding(RESOLUTION, text)


NEGATIVE_DURATIONS = Rule("negative-durations", "integrity", "events that end before they start; they count as 0 ns")


def _negative(trace: Trace) -> Finding | None:
    count = trace.facts.negative_durations
    text = f"{units.many(count, 'event ends before it starts', 'events end before they start')}; counted as 0 ns"
    return Finding(NEGATIVE_DURATIONS, text) if count else None


CHECKS: tuple[Callable[[Trace], Finding | None], ...] = (
    _reading, _truncated, _repairs, _unusable, _resolution, _negative,
)  # fmt: skip
