"""Files of a study's answers: their tables, their figures, and one page with all of them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import perfkit
from perfkit import signals
from perfkit.analysis.study import page
from perfkit.analysis.study.page import Answered
from perfkit.commands.console import plots
from perfkit.commands.console.progress import going_on
from perfkit.errors import UsageError
from perfkit.render import files
from perfkit.schema.page.sections import Page
from perfkit.schema.printable import printable
from perfkit.schema.report import Report

_FORMS = (".csv", ".md", ".tex", ".typ")
"""What the tables of an answer are written as."""


def write(found: Sequence[Answered], output: Path, names: Sequence[str]) -> list[Path]:
    """Tables and figures of each answer, into a folder; of several also the page, and all answers in one table.

    `names`: of the questions as they were asked for. Returns the files that matter most. Raises UsageError where the
    folder cannot be written.
    """
    tables, figures = output / "tables", output / "figures"
    for folder in (tables, figures):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{folder}: {error.strerror}; choose another --output") from error
    written: list[Path] = []
    for one in found:
        if one.report.names:
            for extension in _FORMS:
                files.write(tables / f"{one.stem}{extension}", one.report)
            written.append(tables / f"{one.stem}.csv")
        if one.picture is not None:
            path = figures / f"{one.stem}.svg"
            plots.draw(one.picture, path)
            written.append(path)
    if len(found) > 1:
        written += _write_all(found, output, names)
    return written


def _write_all(found: Sequence[Answered], output: Path, names: Sequence[str]) -> list[Path]:
    all_answers = Report("answers", {}, (page.answers(found),))
    for extension in (".csv", ".md"):
        files.write(output / f"answers{extension}", all_answers)
    with signals.at_once():
        from perfkit.render.html.document import document

    command = printable(shlex.join(["perfkit", "study", *names, "-o", str(output)]))
    title = f"{len(found)} questions"
    made = Page(title=title, parts=tuple(map(page.part, found)), command=command, version=perfkit.__version__)
    path = output / "report.html"
    with going_on("writing the page"):
        files.replace(path, document(made).encode())
    return [output / "answers.md", path]
