"""Tables as CSV: raw values at full precision."""

from __future__ import annotations

from collections.abc import Callable
from csv import QUOTE_NONNUMERIC
from typing import TYPE_CHECKING, Any

import pandas as pd

from perfkit.render.cells import encodable
from perfkit.schema.printable import defused, printable

if TYPE_CHECKING:
    from perfkit.schema.table import Table


def csv(table: Table, *, readable: bool = False) -> str:
    """One header line of column names, then raw values; RFC 4180 quoting, lines end in a bare newline.

    Numbers keep every digit, missing values are empty. A text that a spreadsheet would take for a formula has an
    apostrophe before it (`schema.printable`). readable: for a terminal, with control characters spelled out.
    """

    def written(text: str) -> str:
        return printable(defused(text)) if readable else defused(text)

    frame = pd.DataFrame({written(c.name): _with_texts(table.frame[c.name], written) for c in table.columns})
    text: str = frame.to_csv(index=False, lineterminator="\n")
    if "\r" in text:  # before Python 3.13 the csv module leaves a bare carriage return unquoted
        text = frame.to_csv(index=False, lineterminator="\n", quoting=QUOTE_NONNUMERIC)
    return encodable(text)


def _with_texts(series: pd.Series[Any], written: Callable[[str], str]) -> pd.Series[Any]:
    """The series with its texts as they are to be written; numbers stay what they are."""
    if series.dtype.kind != "O":
        return series
    values = [written(value) if isinstance(value, str) else value for value in series.tolist()]
    return pd.Series(values, index=series.index, dtype=object)
