"""`perfkit doctor`: what this machine can measure, and what to install."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import pandas as pd
from cyclopts import Parameter

from perfkit import signals
from perfkit.commands.console import show
from perfkit.schema.report import Report
from perfkit.schema.table import Column, Table


def _examine() -> Sequence[Any]:
    with signals.at_once():
        from perfkit.measure import doctor

    return doctor.examine()


def execute(*, examine: Annotated[Callable[[], Sequence[Any]], Parameter(parse=False)] = _examine) -> int:
    """Say what this machine can measure (GPU, nsys, NVML, versions), and what to install for the rest."""
    rows = examine()
    frame = pd.DataFrame(
        [(ability.topic, ability.state, ability.found) for ability in rows], columns=["topic", "ready", "found"]
    )
    table = Table(
        "doctor", "What this machine can measure", tuple(map(Column, frame.columns)), frame, pinned=len(frame)
    )
    findings = tuple(ability.finding for ability in rows if ability.finding is not None)
    show.print_reports([Report("this machine", {}, (table,), findings=findings)], top=None)
    return 0
