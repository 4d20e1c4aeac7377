"""Which reports and tables are shown where some are asked for by name."""

from __future__ import annotations

import pandas as pd
import pytest

from perfkit.commands.console import show
from perfkit.errors import OutOfMemoryError, UsageError
from perfkit.schema.finding import Finding, Rule
from perfkit.schema.table import Column, Table
from tests.reports import report

RULE = Rule("a-rule", "run", "for a test")


def table(name: str) -> Table:
    """A table of one row."""
    return Table(name, name.title(), (Column("what"),), pd.DataFrame({"what": ["here"]}))


def test_without_a_name_what_is_empty_is_left_out():
    """GIVEN a report with nothing in it between two others WHEN all is shown THEN it is not among them"""
    first, empty, last = report(table("a")), report(), report(findings=[Finding(RULE, "known")])
    assert show.chosen([first, empty, last], ()) == [first, last]


def test_only_the_reports_with_a_table_of_that_name_remain():
    """GIVEN two reports WHEN a table of the second is asked for THEN that table alone is shown"""
    [shown] = show.chosen([report(table("a")), report(table("b"), table("c"))], ("b",))
    assert shown.names == ("b",)


def test_a_name_that_nothing_has_names_the_choices_of_all_reports():
    """GIVEN two reports WHEN a table is asked for that none has THEN the error has the names of both, in order"""
    with pytest.raises(UsageError, match=r"^--table x: there is no table of that name in it; choose from a, b$"):
        show.chosen([report(table("b")), report(table("a"))], ("x",), "in it")


def test_findings_of_all_reports_are_one_table_of_the_last():
    """GIVEN two reports with a finding each WHEN the findings are asked for THEN one table has both"""
    reports = [report(findings=[Finding(RULE, "first")]), report(findings=[Finding(RULE, "second")])]
    shown = show.chosen(reports, ("findings",))
    assert [made.names for made in shown] == [(), ("findings",)]
    assert len(shown[-1].main_table) == 2


def test_an_error_is_raised_after_what_there_is():
    """GIVEN an error that waits WHEN the body cannot show what there is THEN it is still that error which is raised"""
    ending = OutOfMemoryError("it was")
    with pytest.raises(OutOfMemoryError) as raised, show.and_then(ending):
        raise BrokenPipeError
    assert raised.value is ending


def test_without_an_error_that_waits_that_of_the_body_is_raised():
    with pytest.raises(BrokenPipeError), show.and_then(None):
        raise BrokenPipeError
    with show.and_then(None):
        pass


def test_what_is_not_shown_has_a_command_that_shows_it(capsys):
    """GIVEN seven things to change WHEN shown THEN the command for all has the path, quoted, and the flags given"""
    rule = Rule("a-change", "performance", "for a test")
    made = report(table("a"), findings=[Finding(rule, f"number {number}") for number in range(7)])
    asked = show.Asked(source="my trace.json", flags=("--steps", "all"))
    show.print_reports([made], top=None, asked=asked)
    assert "  and 2 more: perfkit analyze 'my trace.json' --steps all --table findings\n" in capsys.readouterr().out
    show.write([made], "csv", top=None, by_title=True)
    said = capsys.readouterr().err
    assert "a report:   and 2 more: perfkit analyze 'a report' --table findings\n" in said


def test_sentences_of_all_reports_of_one_source_come_before_their_tables(capsys):
    """GIVEN two reports of one run WHEN shown THEN what both say, then the tables of both; of two sources, apart"""
    reports = [report(table("a"), findings=[Finding(RULE, "one")]), report(table("b"), findings=[Finding(RULE, "two")])]
    show.print_reports(reports, top=None)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == ["one", "two", "", "A"]
    assert "B" in lines[4:]
    show.print_reports(reports, top=None, by_title=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == ["a report", "one", "", "A"]
    assert lines.index("two") > lines.index("A")
