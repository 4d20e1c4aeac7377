"""The words of each finding about noise, by values made by hand."""

from __future__ import annotations

import math

import pytest

from perfkit.analysis.noise import tables as noise_report
from perfkit.analysis.noise import texts as noise_texts
from perfkit.analysis.noise.causes import Cause
from perfkit.analysis.noise.disturbances import Disturbance
from perfkit.analysis.noise.stability import Stability
from perfkit.analysis.noise.variance import Share
from perfkit.analysis.statistics.trend import Drift

OTHERS = "than the others, whose median is 100.0 ms"


@pytest.mark.parametrize(
    ("kind", "changes", "text"),
    [
        ("step", {}, f"step 3 took 50.00 ms (50.0%) more {OTHERS}: so"),
        ("step", {"counters": ""}, f"step 3 took 50.00 ms (50.0%) more {OTHERS}"),
        ("step", {"cause": Cause.GC}, f"step 3 took 50.00 ms (50.0%) more {OTHERS}: garbage collection explains so"),
        ("step", {"steps": (3, 5)}, f"steps 3, 5 took up to 50.00 ms (50.0%) more {OTHERS}: so"),
        ("level", {"steps": (3, 4, 5)}, f"steps 3 to 5 took 50.00 ms (50.0%) more {OTHERS}: so"),
        ("warm-up", {"cause": Cause.WARMUP}, f"step 3 took 50.00 ms (50.0%) more {OTHERS}: warm-up is not finished"),
        ("fast step", {"excess_s": -0.05, "cause": Cause.FAST}, f"step 3 took 50.00 ms (50.0%) less {OTHERS}: so"),
        ("period", {"period": 8, "steps": (1, 9, 17, 25), "cause": Cause.PERIODIC, "counters": ""},
         f"every 8th step (steps 1, 9, 17, ...) takes 50.00 ms (50.0%) more {OTHERS}"),
        ("mode", {"steps": (2, 4, 6), "counters": ""},
         "the steps run at two speeds: 3 (steps 2, 4, 6, 2 apart) take 150.0 ms in the mean, and the others 100.0 ms"),
        ("mode", {"steps": (2, 4, 7, 8), "counters": ""},
         "the steps run at two speeds: 4 (steps 2, 4, 7, ...) take 150.0 ms in the mean, and the others 100.0 ms"),
    ],
)  # fmt: skip
def test_steps_that_stand_out_have_their_words(kind, changes, text):
    usual = {"counters": "so", "steps": (3,), "excess_s": 0.05, "cause": None, "period": 0} | changes
    steps = usual["steps"]
    one = Disturbance(
        kind, tuple(step - 1 for step in steps), usual["excess_s"], 0.1, usual["cause"], 1.0, usual["period"]
    )
    assert noise_texts.disturbed(one, steps, usual["counters"]) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (noise_texts.lost("x", 0.5, 0.05), "every step loses time to x: 50.0%, 50.00 ms of the typical step"),
        (noise_texts.drift(Drift(p=0.001, share=0.5)),
         "the steps drift: from the first to the last they get slower by 50.0% of the median (Mann-Kendall p = 0.001)"),
        (noise_texts.drift(Drift(p=0.001, share=-0.5)),
         "the steps drift: from the first to the last they get faster by 50.0% of the median (Mann-Kendall p = 0.001)"),
        (noise_texts.autocorrelation(0.5, 30, 10.04),
         "neighbouring steps are alike (autocorrelation 0.50): 30 steps say as much as 10.0 independent ones"),
        (noise_texts.too_many_threads(4, 2, 0.0), "too many threads: 4 threads on 2 CPUs"),
        (noise_texts.too_many_threads(4, 2, 0.4),
         "too many threads: 4 threads on 2 CPUs; in the typical step one of them waits for a CPU for 40.0% of the"
         " time"),
    ],
)  # fmt: skip
def test_what_is_about_all_steps_has_its_words(text, words):
    assert text == words


@pytest.mark.parametrize(
    ("attributed", "cv", "more"),
    [
        (0, math.nan, ""),
        (1, 0.01, "; excluding the step explained below, CV is 1.00%"),
        (2, 0.01, "; excluding the 2 steps explained below, CV is 1.00%"),
    ],
)
def test_the_line_of_the_variance(attributed, cv, more):
    shares = (Share(Cause.GC, 0.5, 0.1), Share(Cause.FAULTS, 0.3, 0.1), Share(None, 0.2, math.nan))
    assert noise_texts.variance(0.05, shares, cv, attributed) == (
        "CV 5.00%: 50.0% of the variance comes from garbage collection, 30.0% from page faults; 20.0% is"
        f" unexplained{more}"
    )


def test_the_table_has_a_row_a_share():
    shares = (Share(Cause.GC, 0.8, 0.1), Share(None, 0.2, math.nan))
    [noise] = noise_report.tables(Stability(0.05, shares, math.nan, 0, (), ()))
    assert (noise.name, noise.title, noise.pinned) == ("noise", "Variance by cause", 2)
    assert noise.frame["cause"].tolist() == ["garbage collection", "unexplained"]
    assert noise.frame["share"].tolist() == [0.8, 0.2]
    assert noise.frame["mean_s"][0] == 0.1
    assert noise_report.tables(None) == ()


@pytest.mark.parametrize(("runs", "text"), [(8, "steps 1, 3, 5, 7, 9, 11, 13, 15"), (9, "9 steps")])
def test_eight_places_are_named_and_of_more_only_the_number(runs, text):
    assert noise_texts.numbers(range(1, 2 * runs, 2)) == text
