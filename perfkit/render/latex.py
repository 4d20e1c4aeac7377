"""Tables as LaTeX with booktabs."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

from perfkit.render.cells import MISSING
from perfkit.render.layout import layout
from perfkit.render.shorten import shortened_rows
from perfkit.schema.printable import printable

if TYPE_CHECKING:
    from perfkit.render.layout import Layout
    from perfkit.schema.table import Table

PAGE_WIDTH = 72
"""Characters, with two between columns, that always fit a page of one text column; a wider table is made narrower."""
NAME_WIDTH = 48
"""Characters that a name may take in a column that cannot wrap; CSV and JSON hold it whole."""

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",
    "[": "{[}",  # after a line's \\ a bare bracket or star would be its argument
    "*": "{*}",
    "-": "-{}",  # keeps -- from becoming a dash
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    "…": r"\ldots{}",
    "×": r"\ensuremath{\times}",  # noqa: RUF001
    "±": r"\ensuremath{\pm}",
    "–": "--",  # noqa: RUF001
    "—": "---",
}
_ESCAPES = str.maketrans(_SPECIAL)
_LONE_HYPHEN = re.compile(r"-\{\}(?!-)")


def latex(table: Table, *, top: int | None = None, name_width: int | None = NAME_WIDTH) -> str:
    r"""A `table` environment: caption, label `tab:<name>`, numbers aligned right, notes below in small print.

    A wide one has its headings in several lines and is scaled down where the page is narrower still. The document
    needs \usepackage{booktabs}, for wide tables graphicx, and textcomp, which is built into LaTeX since 2020.
    top: show this many rows and sum up the rest. name_width: shorten names to this; None keeps them whole.
    """
    shown = layout(table, top)
    rows = shortened_rows(shown, name_width)
    widths = [max([1, *map(len, cells)]) for cells in zip(*rows, strict=True)] or [1] * len(shown.headings)
    wide = sum(map(max, widths, map(len, shown.headings))) + 2 * len(widths) > PAGE_WIDTH
    body = [_line(row, shown.is_text) for row in rows]
    if shown.rest:
        body.insert(shown.rest_at, _line(shown.rest, shown.is_text))
    if not body:
        body = [f"\\multicolumn{{{len(shown.headings)}}}{{l}}{{no rows}} \\\\"]
    body += [r"\midrule", _line(shown.total, shown.is_text)] if shown.total else []
    lines = [
        rf"% needs \usepackage{{booktabs{',graphicx' if wide else ''}}}",
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{escape(printable(table.title))}}}",
        rf"\label{{tab:{re.sub('[^A-Za-z0-9]+', '-', table.name)}}}",
        *([_FIT] if wide else []),
        rf"\begin{{tabular}}{{{''.join('l' if is_text else 'r' for is_text in shown.is_text)}}}",
        r"\toprule",
        _stacked(shown, widths) if wide else _line(shown.headings, [True] * len(shown.headings)),
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}" + ("}" if wide else ""),
        *(rf"\par\smallskip{{\footnotesize {escape(printable(note))}}}" for note in table.remarks),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


_FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
"""Scales what follows to the width of the text, but only down."""


def _stacked(shown: Layout, widths: list[int]) -> str:
    """The headings, each in lines as wide as the cells below it where its words allow it."""
    cells = []
    for heading, width, is_text in zip(shown.headings, widths, shown.is_text, strict=True):
        lines = textwrap.wrap(heading, width, break_long_words=False, break_on_hyphens=False) or [heading]
        text = r"\\".join(map(escape, lines))
        cells.append(rf"\shortstack[{'l' if is_text else 'r'}]{{{text}}}" if len(lines) > 1 else text)
    return " & ".join(cells) + r" \\"


def escape(text: str) -> str:
    """Text that LaTeX sets as it stands, whatever characters it holds."""
    return _LONE_HYPHEN.sub("-", text.translate(_ESCAPES))


def _line(texts: list[str], is_text: list[bool]) -> str:
    escaped = [escape(text) if left else _number(text) for text, left in zip(texts, is_text, strict=True)]
    return " & ".join(escaped) + r" \\"


def _number(text: str) -> str:
    """A number with a minus sign, not a hyphen; a dash where there is none."""
    if text == MISSING:
        return "--"
    return escape(text).replace("-", "$-$", 1)
