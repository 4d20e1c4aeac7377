"""Stability -> the table of the variance by cause."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from perfkit.analysis.noise.stability import Stability
from perfkit.schema.table import Column, Table


def tables(noise: Stability | None) -> Sequence[Table]:
    """For scripts: `noise`, the variance by cause."""
    return () if noise is None else (_noise_table(noise),)


def _noise_table(noise: Stability) -> Table:
    columns = (Column("cause"), Column("share", "1", "share", "share of variance", summed=True),
               Column("mean_s", "s", "time", "in the mean step", scale="time"))  # fmt: skip
    rows = [(share.name, share.share, share.mean_s) for share in noise.shares]
    frame = pd.DataFrame(rows, columns=[column.name for column in columns])
    return Table("noise", "Variance by cause", columns, frame, pinned=len(frame))
