"""Time and memory of attention alone against the sequence, on logarithmic axes: a slope of 2 is quadratic growth."""

from __future__ import annotations

from collections.abc import Sequence

from perfkit.analysis.attention.results import OUT_OF_MEMORY, Result
from perfkit.errors import UsageError
from perfkit.schema.chart import Chart, Missing, Panel, Quantity, Series

_WHAT: tuple[tuple[tuple[str, str, Quantity], ...], ...] = (
    (("forward_s", "forward", "s"), ("backward_s", "backward", "s")),
    (("held_bytes", "held before backward", "B"), ("peak_bytes", "peak memory", "B")),
)


def chart(results: Sequence[Result]) -> Chart:
    """Forward and backward above, memory below; a colour for each implementation, a dash for each head width.

    Raises UsageError where no cell has times.
    """
    if not any(one.outcome == "ok" for one in results):
        raise UsageError("no cell of the grid has times")
    rows = tuple(tuple(_panel(results, *what) for what in row) for row in _WHAT)
    return Chart(rows=rows, notes=("medians of the passes; memory: bytes in tensors; both axes logarithmic",))


def _panel(results: Sequence[Result], name: str, title: str, quantity: Quantity) -> Panel:
    colors = {one: place for place, one in enumerate(dict.fromkeys(result.cell.name for result in results))}
    dashes = {one: place for place, one in enumerate(sorted({result.cell.width for result in results}))}
    series, missing = [], []
    for what, color in colors.items():
        for width, dash in dashes.items():
            mine = sorted(
                (one for one in results if one.cell.name == what and one.cell.width == width),
                key=lambda one: one.cell.sequence,
            )
            there = [(one.cell.sequence, value) for one in mine if (value := getattr(one, name))]
            if there:
                x, y = zip(*there, strict=True)
                series.append(
                    Series(label=f"{what}, head width {width}", x=tuple(map(float, x)), y=tuple(map(float, y)),
                           color=color, dash=dash)
                )  # fmt: skip
            missing += [
                Missing(x=float(one.cell.sequence), label="out of memory", color=color)
                for one in mine
                if one.outcome in OUT_OF_MEMORY
            ]
    sequences = sorted({one.cell.sequence for one in results})
    return Panel(
        series=tuple(series), missing=tuple(missing), title=title, x_title="sequence",
        y_title="time of a pass" if quantity == "s" else "memory", y_quantity=quantity,
        x_ticks=tuple((float(one), f"{one:,}") for one in sequences), x_log=len(sequences) > 1, y_log=True,
    )  # fmt: skip
