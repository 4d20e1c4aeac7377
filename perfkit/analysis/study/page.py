"""An answer as a part of a page, and all answers in one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perfkit.analysis.study.question import Question, Row, table_of
from perfkit.schema.page.pictures import Picture
from perfkit.schema.page.sections import Part, Section
from perfkit.schema.report import Report
from perfkit.schema.table import Column, Table


@dataclass(frozen=True, slots=True)
class Answered:
    """What a question came to."""

    question: Question
    report: Report
    picture: Picture | None
    runs: int
    seconds: float
    """Of the processes of its runs, whenever they were, and of answering."""

    @property
    def stem(self) -> str:
        """Of the names of its files: `q07_softmax`."""
        return f"q{self.question.number:02d}_{self.question.word}"


def part(one: Answered) -> Part:
    """The answer with its tables and its figure."""
    picture = one.picture
    tables = tuple(table for table in one.report.seen_by("people").tables if len(table))
    section = Section(
        anchor=one.question.word,
        title=one.question.asks,
        takeaway="" if picture is None else picture.takeaway or picture.title,
        figures=() if picture is None else (picture.figure,),
        tables=tables,
        notes=() if picture is None else picture.notes,
    )
    title = f"{one.question.name} {one.question.word}"
    return Part(title=title, findings=one.report.findings, sections=(section,))


def answers(found: Sequence[Answered]) -> Table:
    """One row a question: how long it took, and its sentence."""
    rows: list[Row] = [
        {"question": f"{one.question.name} {one.question.word}", "runs": one.runs, "took_s": one.seconds,
         "sentence": one.report.summary["sentence"], "next": one.report.summary["next"]}
        for one in found
    ]  # fmt: skip
    columns = (
        Column("question"), Column("runs", "", "count"), Column("took_s", "s", "time", "took"),
        Column("sentence", whole=True), Column("next", whole=True),
    )  # fmt: skip
    notes = ("took: the processes of its runs, some of which others share, and answering",)
    return table_of("answers", "All answers", columns, rows, notes)
