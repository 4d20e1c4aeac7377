"""scripts/compare-json: two documents are equal but for what has moved."""

from __future__ import annotations

import importlib.machinery
import importlib.util

import pytest

from tests.docs.pages import ROOT

_LOADER = importlib.machinery.SourceFileLoader("compare_json", str(ROOT / "scripts" / "compare-json"))
_SPEC = importlib.util.spec_from_loader("compare_json", _LOADER)
assert _SPEC is not None
script = importlib.util.module_from_spec(_SPEC)
_LOADER.exec_module(script)

PHASES = {"rows": [{"phase": "forward", "total_ns": 5}]}
BEFORE = {
    "summary": {"steps": 2},
    "tables": {
        "phases": PHASES,
        "integrity": {"rows": [{"check": "CUDA graphs", "count": 3, "time_ns": 16, "text": "graphs"}]},
        "findings": {"rows": [{"kind": "step", "advice": "--gc off"}, {"kind": "drift", "advice": ""}]},
    },
}
FINDINGS = [
    {"rule": "slow-steps", "what": "step 3", "cost_ns": 7, "advice": "--gc off"},
    {"rule": "drift", "what": "drifts", "cost_ns": None, "advice": ""},
    {"rule": "cuda-graphs", "what": "graphs", "cost_ns": 8, "advice": ""},
]


def now(findings=FINDINGS, steps=2, **tables):
    return 0, {"summary": {"steps": steps}, "tables": {"phases": PHASES} | tables, "findings": findings}, ["a line"]


def test_documents_that_say_the_same_are_equal():
    assert script.compare((0, BEFORE, ["a line"]), now()) == []
    assert script.compare(now(), now()) == []
    assert script.compare((2, "", ["no"]), (2, "", ["no"])) == []


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (now(steps=3), "summary: steps: 2 -> 3"),
        (now(phases={"rows": []}), "tables: phases: "),
        (now(more=PHASES), "tables: more: None -> "),
        (now(integrity={"rows": []}), "tables: integrity is still there"),
        (now(FINDINGS[:2]), "findings lack [('cuda-graphs', 'graphs', 8)]"),
        (now([FINDINGS[1], FINDINGS[0], FINDINGS[2]]), "findings lack [('slow-steps', '--gc off'), ('drift', '')]"),
        ((2, "", ["no"]), "exit code 0 -> 2"),
        ((*now()[:2], ["another line"]), "exit code 0 -> 0, standard error:"),
    ],
)
def test_what_differs_is_named(document, says):
    assert script.compare((0, BEFORE, ["a line"]), document)[0].startswith(says)


@pytest.mark.parametrize(
    ("before", "since"),
    [
        ("+-1.00% would need about --measure-steps 738", "+-1.00% would need about 738 steps; try --measure-steps 738"),
        ("too few steps; use --measure-steps 10 or more", "too few steps; try --measure-steps 10 or more"),
        ("a part period: measure a multiple of 8 steps", "a part period; try a multiple of 8 steps"),
        ("probes: 3.000 us a step", "counters: reading them takes 3.000 us a step"),
        (
            "CV 9.00%: x; without the 2 steps explained below CV is 1%",
            "CV 9.00%: x; excluding the 2 steps explained below, CV is 1%",
        ),
    ],
)
def test_a_sentence_in_other_words_is_the_same_sentence(before, since):
    assert script.compare((0, BEFORE, [before]), (*now()[:2], [since])) == []
    assert script.compare((0, BEFORE, [before]), (*now()[:2], ["another"])) != []


def test_texts_of_the_document_are_reworded():
    """GIVEN an older document with a note and a cause in former words WHEN compared with the present one THEN both are
    the same"""
    old, new = (
        {"summary": {"cause": cause}, "tables": {"a": {"rows": [], "notes": [note]}}, "findings": []}
        for cause, note in (
            ("something that comes round every few steps", "ranges in steps or not"),
            ("work that repeats every few steps", "ranges inside and outside the steps"),
        )
    )
    assert script.compare((0, old, []), (0, new, [])) == []
    assert script.compare((0, new, []), (0, old, [])) != []
