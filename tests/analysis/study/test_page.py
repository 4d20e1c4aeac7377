"""Answers in a page, and all in one table."""

from __future__ import annotations

from perfkit.analysis.study.large import LARGE
from perfkit.analysis.study.page import Answered, answers, part
from perfkit.analysis.study.question import answered
from perfkit.schema.chart import Chart
from perfkit.schema.page.pictures import Picture
from tests.analysis.study.cases import SCOPE, results, rows


def test_a_figure_is_said_in_words():
    """GIVEN a picture with a title alone THEN a reader who does not see it is told that"""
    report, _ = answered(LARGE, SCOPE, results())
    picture = Picture(figure=Chart(rows=()), title="Every step")
    section = part(Answered(LARGE, report, picture, runs=0, seconds=0.0)).sections[0]
    assert (section.takeaway, section.figures) == ("Every step", (picture.figure,))


def test_an_answer_as_a_part_and_as_a_row():
    report, picture = answered(LARGE, SCOPE, results())
    one = Answered(LARGE, report, picture, runs=0, seconds=1.5)
    made = part(one)
    assert (made.title, one.stem) == ("Q20 large", "q20_large")
    assert made.findings[0].what.startswith("large (forward-backward) takes 17.80 s")
    assert [table.name for table in made.sections[0].tables] == ["rows", "changes"]
    [row] = rows(answers([one]))
    assert (row["question"], row["took_s"]) == ("Q20 large", 1.5)
    assert row["sentence"] == made.findings[0].what
