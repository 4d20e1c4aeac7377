"""The words of each finding, by findings made by hand."""

from __future__ import annotations

import math

import pytest

from perfkit.analysis import noise_report
from perfkit.analysis.causes import Cause
from perfkit.analysis.stability import Finding, Stability
from perfkit.analysis.variance import Share


def finding(kind: str, **changes) -> Finding:
    usual = {"number": 0.5, "measure": "slower", "cause": None, "evidence": "so", "advice": "", "steps": (3,)}
    return Finding(kind=kind, **(usual | {"excess_s": 0.05, "quiet_s": 0.1} | changes))


def stability(*findings: Finding, shares=(), cv_without=math.nan, attributed=0) -> Stability:
    return Stability(0.05, shares, cv_without, attributed, (), findings)


def line(kind: str, **changes) -> str:
    [text] = noise_report.lines(stability(finding(kind, **changes)))
    return text


OTHERS = "than the others, whose median is 100.0 ms"


@pytest.mark.parametrize(
    ("kind", "changes", "text"),
    [
        ("step", {}, f"step 3 took 50.00 ms (50.0%) more {OTHERS}: so"),
        ("step", {"evidence": ""}, f"step 3 took 50.00 ms (50.0%) more {OTHERS}"),
        ("step", {"cause": "x"}, f"step 3 took 50.00 ms (50.0%) more {OTHERS}: x explains so"),
        ("step", {"steps": (3, 5)}, f"steps 3, 5 took up to 50.00 ms (50.0%) more {OTHERS}: so"),
        ("level", {"steps": (3, 4, 5)}, f"steps 3 to 5 took 50.00 ms (50.0%) more {OTHERS}: so"),
        ("warm-up", {"cause": Cause.WARMUP.value},
         f"step 3 took 50.00 ms (50.0%) more {OTHERS}: warm-up is not finished"),
        ("fast step", {"number": -0.5, "excess_s": -0.05, "cause": Cause.FAST.value},
         f"step 3 took 50.00 ms (50.0%) less {OTHERS}: so"),
        ("period", {"period": 8, "steps": (1, 9, 17, 25), "cause": Cause.PERIODIC.value, "evidence": ""},
         f"every 8th step (steps 1, 9, 17, ...) takes 50.00 ms (50.0%) more {OTHERS}"),
        ("every step", {"cause": "x"}, "every step loses time to x: 50.0%, so"),
        ("drift", {}, "the steps drift: they get 50.0% slower from the first to the last (so)"),
        ("drift", {"number": -0.5}, "the steps drift: they get 50.0% faster from the first to the last (so)"),
        ("autocorrelation", {}, "neighbouring steps are alike (autocorrelation 0.50): so"),
        ("spill", {"cause": "x"}, "x: so"),
        ("too many threads", {}, "too many threads: so"),
        ("mode", {"steps": (2, 4, 6), "evidence": ""},
         "the steps run at two speeds: 3 (steps 2, 4, 6, 2 apart) take 150.0 ms in the mean, and the others 100.0 ms"),
        ("mode", {"steps": (2, 4, 7, 8), "evidence": ""},
         "the steps run at two speeds: 4 (steps 2, 4, 7, ...) take 150.0 ms in the mean, and the others 100.0 ms"),
    ],
)  # fmt: skip
def test_each_finding_has_its_words(kind, changes, text):
    assert line(kind, **changes) == text


def test_an_advice_is_given_once():
    first, second, third = noise_report.lines(
        stability(*(finding("step", advice=advice) for advice in ("--gc off", "--gc off", "nice")))
    )
    assert (first[-15:], second[-4:], third[-10:]) == (": so; try --gc off"[-15:], ": so", "; try nice")
    assert noise_report.lines(None) == []


@pytest.mark.parametrize(
    ("attributed", "cv", "more"),
    [
        (0, math.nan, ""),
        (1, 0.01, "; without the step explained below CV is 1.00%"),
        (2, 0.01, "; without the 2 steps explained below CV is 1.00%"),
    ],
)
def test_the_line_of_the_variance(attributed, cv, more):
    shares = (Share(Cause.GC, 0.5, 0.1), Share(Cause.FAULTS, 0.3, 0.1), Share(None, 0.2, math.nan))
    text = noise_report.variance_line(stability(shares=shares, cv_without=cv, attributed=attributed))
    assert text == (
        "CV 5.00%: 50.0% of the variance comes from garbage collection, 30.0% from page faults; 20.0% is"
        f" unexplained{more}"
    )


def test_the_tables_have_a_row_a_share_and_a_finding():
    shares = (Share(Cause.GC, 0.8, 0.1), Share(None, 0.2, math.nan))
    noise, findings = noise_report.tables(
        stability(finding("level", steps=(3, 4, 5), cause="x", advice="y"), finding("drift", steps=()), shares=shares)
    )
    assert (noise.name, noise.title, noise.pinned) == ("noise", "Variance by cause", 2)
    assert noise.frame["cause"].tolist() == ["garbage collection", "unexplained"]
    assert noise.frame["share"].tolist() == [0.8, 0.2]
    assert noise.frame["mean_s"][0] == 0.1
    assert (findings.name, findings.title) == ("findings", "Findings")
    assert findings.frame.iloc[0].tolist() == ["level", 0.5, "slower", "x", "so", "y", 3, 5, 3]
    assert findings.frame.iloc[1].tolist()[-3:] == [0, 0, 0]
    assert noise_report.tables(None) == ()
