"""Tables as LaTeX with booktabs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from perfkit.render.cells import MISSING, printable
from perfkit.render.grid import grid
from perfkit.render.shorten import shortened_rows

if TYPE_CHECKING:
    from perfkit.schema.table import Table

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

    The document needs \usepackage{booktabs} and \usepackage{textcomp} (built into LaTeX since 2020).
    top: show this many rows and sum up the rest. name_width: shorten names to this; None keeps them whole.
    """
    shown = grid(table, top)
    body = [_line(row, shown.is_text) for row in shortened_rows(shown, name_width)]
    if shown.rest:
        body.insert(shown.rest_at, _line(shown.rest, shown.is_text))
    if not body:
        body = [f"\\multicolumn{{{len(shown.headings)}}}{{l}}{{no rows}} \\\\"]
    body += [r"\midrule", _line(shown.total, shown.is_text)] if shown.total else []
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{escape(printable(table.title))}}}",
        rf"\label{{tab:{re.sub('[^A-Za-z0-9]+', '-', table.name)}}}",
        rf"\begin{{tabular}}{{{''.join('l' if is_text else 'r' for is_text in shown.is_text)}}}",
        r"\toprule",
        _line(shown.headings, [True] * len(shown.headings)),
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par\smallskip{{\footnotesize {escape(printable(note))}}}" for note in table.notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


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
