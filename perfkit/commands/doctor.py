"""`perfkit doctor`: what this machine can measure, and what to install."""

from __future__ import annotations

import sys

import pandas as pd

from perfkit import signals
from perfkit.render import text
from perfkit.schema.table import Column, Table


def execute() -> int:
    """Say what this machine can measure (GPU, nsys, NVML, versions), and what to install for the rest."""
    with signals.at_once():
        from perfkit.measure import doctor

    findings = doctor.examine()
    frame = pd.DataFrame(
        [(finding.topic, finding.state, finding.found) for finding in findings], columns=["topic", "ready", "found"]
    )
    notes = tuple(f"{finding.topic}: {finding.advice}" for finding in findings if finding.advice)
    table = Table("doctor", "What this machine can measure", tuple(map(Column, frame.columns)), frame, notes)
    text.print_tables(text.open_console(sys.stdout), [table])
    return 0
