"""Findings as lines and as tables."""

from __future__ import annotations

import pandas as pd

from perfkit.analysis.findings.reading import READING, REPAIRED_JSON, TRUNCATED_FILE
from perfkit.analysis.noise.stability import DRIFT, SLOW_STEPS
from perfkit.render.findings import lines, tables
from perfkit.schema.finding import CLEAN, Cost, Finding


def test_a_line_is_the_sentence_with_what_to_try():
    assert lines([Finding(DRIFT, "the steps drift", advice="a quiet machine")]) == [
        "the steps drift; try a quiet machine"
    ]


def test_an_advice_is_given_once():
    """GIVEN the same advice twice, and another WHEN shown THEN the second sentence has none"""
    found = [Finding(SLOW_STEPS, name, advice=hint) for name, hint in (("a", "x"), ("b", "x"), ("c", "y"))]
    assert lines(found) == ["a; try x", "b", "c; try y"]


def test_what_asks_for_caution_says_by_which_check():
    assert lines([Finding(TRUNCATED_FILE, "so"), Finding(REPAIRED_JSON, "so"), Finding(CLEAN, "so")]) == [
        "integrity, truncated file: so",
        "integrity, repaired JSON: so",
        "integrity: so",
    ]


def test_the_tables_have_a_row_a_finding():
    """GIVEN a finding of a run and one of a trace THEN `findings` has both, `integrity` the trace's"""
    found = [Finding(DRIFT, "a", Cost(5, 0.5), advice="x", where="w"), Finding(READING, "b", sure="guessed")]
    every, integrity = tables(found)
    assert every.frame.iloc[0].tolist() == ["drift", "a", 5, 0.5, "x", "measured", "w"]
    assert every.frame["rule"].tolist() == ["drift", "reading"]
    assert pd.isna(every.frame["cost_ns"][1])
    assert (integrity.name, integrity.frame["rule"].tolist()) == ("integrity", ["reading"])


def test_a_clean_trace_has_an_empty_table_and_a_run_none():
    [_, integrity] = tables([Finding(CLEAN, "clean")])
    assert len(integrity) == 0
    assert [table.name for table in tables([Finding(DRIFT, "a")])] == ["findings"]
    assert tables([]) == ()
