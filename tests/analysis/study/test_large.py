"""Q20: the case of the laptop, whose numbers are checked by hand in docs/case-large.md."""

from __future__ import annotations

from perfkit.analysis.study.large import LARGE
from tests.analysis.study.cases import SCOPE, results, rows


def test_large_spilled():
    answer = LARGE.answer(SCOPE, results())
    assert answer.sentence.startswith("large (forward-backward) takes 17.80 s, 7.5 times the 2.127 s to 2.372 s")
    assert answer.advice.startswith("--batch-size 2 or --context-length 256")
    assert [row["said"] for row in rows(answer.tables[0])] == ["as expected"] * 2 + ["spilled"] + ["out of memory"] * 2
