"""Which number of blocks to checkpoint together: the size of groups with the lowest peak, beside its neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from perfkit.analysis.sweeps.points import SweepPoint, points_of
from perfkit.schema import units
from perfkit.schema.config import RunConfig
from perfkit.schema.finding import Finding, Rule
from perfkit.schema.parts.checks import flag
from perfkit.schema.sweep import CONFIG_FIELDS, SweepRow

_FIELDS = ("checkpoint", "checkpoint_every", "checkpoint_nested")

BEST_CHECKPOINT = Rule(
    "best-checkpoint", "sweep", "the number of blocks in a checkpoint that has the lowest peak, and its neighbours"
)


def varied(names: Sequence[str]) -> bool:
    """Whether a sweep that varies these fields varies how much is recomputed."""
    return any(name in _FIELDS for name in names)


def findings(rows: Sequence[SweepRow]) -> Iterator[Finding]:
    """The best size of groups among points that differ in nothing else, where there are three or more sizes.

    By the peak in tensors that was counted, or by the predicted one where some point has none.
    """
    points = [point for point in points_of(rows) if point.config.step.checkpoint_group]
    others: dict[RunConfig, list[SweepPoint]] = {}
    for point in points:
        nested = point.config.step.checkpoint_nested
        plain = point.config.changed(checkpoint=False, checkpoint_every=1, checkpoint_nested=nested)
        others.setdefault(plain, []).append(point)
    apart = [name for name in CONFIG_FIELDS if len({config.value(name) for config in others}) > 1]
    for config, alike in others.items():
        sizes = sorted({point.config.step.checkpoint_group: point for point in alike}.items())
        if len(sizes) > 2:
            where = ", ".join(f"{flag(name)} {_text(config.value(name))}" for name in apart)
            yield from _best(dict(sizes), where)


def _text(value: object) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def _best(points: dict[int, SweepPoint], where: str) -> Iterator[Finding]:
    counted = {size: point.tensor_bytes for size, point in points.items() if point.tensor_bytes is not None}
    predicted = {size: point.predicted_bytes for size, point in points.items() if point.predicted_bytes is not None}
    peaks, by = (counted, "counted") if len(counted) == len(points) else (predicted, "predicted")
    if len(peaks) < len(points):
        return
    sizes = list(peaks)
    best = min(sizes, key=lambda size: peaks[size])
    place = sizes.index(best)
    around = (*sizes[max(0, place - 1) : place], *sizes[place + 1 : place + 2])
    beside = " and ".join(f"groups of {size} need {units.size(peaks[size])}" for size in around)
    text = f"{where}: " if where else ""
    text += f"groups of {best} have the lowest peak in tensors, {units.size(peaks[best])} ({by}); {beside}"
    if by == "counted" and len(predicted) == len(points):
        expected = min(sizes, key=lambda size: predicted[size])
        agrees = f"{units.size(predicted[best])} was predicted"
        text += f"; {agrees}" if expected == best else f"; {agrees}, and groups of {expected} as the lowest"
    yield Finding(BEST_CHECKPOINT, text, sure="measured" if by == "counted" else "derived", where=where)
