"""`external_annotations`, ranges that `record_function` gave a snapshot, and `allocator_settings`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perfkit.trace.columns import MAX_NS
from perfkit.trace.snapshot.columns import Annotation
from perfkit.trace.snapshot.values import Cleaned, ImplausibleError, integer, items, members, text

_MOST_SETTINGS = 1000


def annotations_of(value: Any, first: int, last: int) -> tuple[Annotation, ...]:
    """Ranges in the order of their starts: an end closes the last of its name that began on its device.

    `first` and `last` are the times of the first and last event, ns, for ranges without a start or an end.

    Raises ImplausibleError where this is no list of annotations.
    """
    cleaned = Cleaned()
    all_marks = [members(mark, "an annotation") for mark in items(value, "the list of annotations")]
    marks = [_mark(mark, cleaned) for mark in all_marks if _is_range(mark)]
    first, last = min([first, *(time for *_, time in marks)]), max([last, *(time for *_, time in marks)])
    opened: dict[tuple[str, int], list[int]] = {}
    found: list[Annotation] = []
    for stage, name, device, time in marks:
        began = opened.setdefault((name, device), [])
        if stage == "START":
            began.append(time)
        else:
            found.append(Annotation(name, device, began.pop() if began else first, time))
    found += [Annotation(*key, start, last) for key, starts in opened.items() for start in starts]
    return tuple(sorted(found, key=lambda range_: (range_.start, -range_.end)))


def _is_range(mark: dict[Any, Any]) -> bool:
    """Whether this is an end of a range: C++ code may note anything else."""
    return mark.get("stage") in ("START", "END") and type(mark.get("name")) is str


def _mark(mark: dict[Any, Any], cleaned: Cleaned) -> tuple[str, str, int, int]:
    time = integer(mark.get("time_us"), "an annotation's time") * 1000
    if time > MAX_NS:
        raise ImplausibleError(f"an annotation's time is {time} ns")
    device = integer(mark.get("device", 0), "an annotation's device", least=-1)
    return mark["stage"], text(mark["name"], "an annotation's name", cleaned), device, time


def settings_of(value: Any) -> Mapping[str, object]:
    """Numbers and texts by name; tables in it (`roundup_power2_divisions`) are left out."""
    cleaned = Cleaned()
    named = list(members(value, "the dictionary of settings").items())[:_MOST_SETTINGS]
    return {
        text(name, "a setting", cleaned): text(setting, "a setting", cleaned) if type(setting) is str else setting
        for name, setting in named
        if type(name) is str and type(setting) in (bool, int, float, str)
    }
