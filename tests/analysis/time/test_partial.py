"""Partials: a recording folded in parts gives the tables of the whole, bit for bit, however its parts are merged."""

from __future__ import annotations

import importlib
import pickle
import pkgutil
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.analysis import costs, time
from perfkit.analysis.attribution.attribute import Phase, attribute
from perfkit.analysis.reports.trace import FOLDS, TABLES
from perfkit.analysis.time.account import Account, Selection, account_for
from perfkit.analysis.time.cells import CELLS, unattributed
from perfkit.analysis.time.grouping import group_table
from perfkit.analysis.time.idle.queue import QUEUE
from perfkit.analysis.time.idle.tables import GAPS, SYNCS, WALL, WALL_TIMES, wall_table
from perfkit.analysis.time.partial import Fold, Partial, columns_of, merge
from perfkit.analysis.time.passes import PASSES, passes
from perfkit.analysis.time.ranges import range_table
from perfkit.analysis.time.summary import device_span, summary
from perfkit.analysis.time.threads import thread_table
from perfkit.analysis.time.trace_table import TraceTable, View
from perfkit.trace.columns import DeviceKind, Trace
from perfkit.trace.load import load
from perfkit.trace.recording import Device
from tests.builders import TraceBuilder, saying
from tests.corpus import corpus_file
from tests.nsys_export import NsysExport
from tests.reference import random_traces

OF_WALL_TIME = (WALL, WALL_TIMES, GAPS, SYNCS, QUEUE)
VIEWS = (View(), View(by="layer"), View(by="module"), View(by="class", fold=False), View(by="op"), View(by="kernel"))
SAMPLE = Path(__file__).parents[3] / "traces/samples/tiny_train_cpu/sample_1.1.pt.trace.json.gz"


def merged(parts: Sequence[Partial], rng: random.Random) -> Partial:
    """The parts merged in some grouping: of two, of many, of merged ones."""
    parts = list(parts)
    while len(parts) > 1:
        first = rng.randrange(len(parts) - 1)
        last = rng.randint(first + 1, len(parts))
        parts[first : last + 1] = [merge(parts[first : last + 1])]
    return parts[0]


def assert_equal(merged: Partial, whole: Partial, tables: Sequence[TraceTable] = TABLES) -> None:
    """Every table in several views, the summary and what headlines say are the same to the last bit."""
    for table in tables:
        for view in (*(VIEWS if table.name == "groups" else VIEWS[:1]), View(by_device=True)):
            one, other = table.of(merged, view), table.of(whole, view)
            assert (one is None) == (other is None), table.name
            if one is not None and other is not None:
                assert one.audience == other.audience
                assert (one.table.columns, one.table.notes) == (other.table.columns, other.table.notes)
                assert (one.table.title, one.table.pinned) == (other.table.title, other.table.pinned)
                pd.testing.assert_frame_equal(one.table.frame, other.table.frame, check_exact=True, obj=table.name)
    assert {**summary(merged), "source": ""} == {**summary(whole), "source": ""}
    assert list(unattributed(merged)) == list(unattributed(whole))
    assert device_span(merged) == device_span(whole)
    pd.testing.assert_frame_equal(thread_table(merged).frame, thread_table(whole).frame)
    for everywhere in (True, False):
        parts, at_once = (range_table(one, everywhere=everywhere).frame for one in (merged, whole))
        pd.testing.assert_frame_equal(parts, at_once, check_exact=True)


def assert_parts_are_the_whole(trace: Trace, selection: Selection, rng: random.Random) -> None:
    whole = account_for(trace, attribute(trace), selection)
    parts = whole.parts()
    assert sum(map(len, parts)) == len(whole)
    assert len(parts) == max(len(whole.steps) + (not whole.steps_only), 1)
    assert_equal(merged([part.partial for part in parts], rng), whole.partial)


# --- one recording, cut at the borders of its steps ----------------------------------------------------------------


SELECTIONS = st.builds(
    Selection, st.sampled_from((None, None, Phase.FORWARD, Phase.BACKWARD)), st.sampled_from(("all", "auto"))
)


@given(seed=st.integers(0, 10_000), selection=SELECTIONS, grouping=st.randoms(use_true_random=False))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_steps_of_a_random_trace_make_the_whole(tmp_path, seed, selection, grouping):
    random_traces.write_json(random_traces.generate(seed), tmp_path / "t.json")
    assert_parts_are_the_whole(load(tmp_path / "t.json"), selection, grouping)


@pytest.mark.parametrize("phase", [None, Phase.FORWARD, Phase.BACKWARD])
def test_the_steps_of_the_sample_make_the_whole(phase):
    for steps in ("auto", "all"):
        assert_parts_are_the_whole(load(SAMPLE), Selection(phase, steps), random.Random(1))


@pytest.mark.corpus
@pytest.mark.parametrize(
    "name",
    ["kineto/v100_training.json.gz", "kineto/a100_ddp_training.json.gz", "kineto/cpu_only.json.gz",
     "kineto/a100_small_iterations.json.gz", "nsys/rtx3080_tiny.sqlite", "kineto/particle_transformer.json.gz"],
)  # fmt: skip
def test_the_steps_of_a_real_trace_make_the_whole(name):
    trace = load(corpus_file(name))
    for selection in (Selection(), Selection(Phase.FORWARD, "all")):
        assert_parts_are_the_whole(trace, selection, random.Random(2))


def test_the_steps_of_an_export_without_device_work_make_the_whole(tmp_path):
    export = NsysExport().domain("perfkit", 1).range("fc", 200, 205, domainId=1)
    for step, begin in enumerate((0, 50, 300)):
        export.range(f"step::{step}", begin, begin + 40, domainId=1).range(
            "fc", begin + 5, begin + 9 + step, domainId=1
        )
    trace = load(export.write(tmp_path / "a.sqlite"))
    assert_parts_are_the_whole(trace, Selection(steps="all"), random.Random(3))


@pytest.mark.parametrize("held", [10, 90])
def test_steps_of_a_trace_without_modules_make_the_whole(held):
    """GIVEN ranges that hold a tenth of the time, or nine, unevenly over steps WHEN cut THEN parts go by the same"""
    b = TraceBuilder()
    for step in range(3):
        at = 1000 * step
        b.step(step, at, at + 900).annotation("part", at + 10, at + 200).range("aten::mm", at + 300, at + 400)
        if step:
            b.launched("in", at + 50, at + 500, at + 500 + held)
        b.launched("out", at + 310, at + 700, at + 750 - held // 2).launched("bare", at + 450, at + 800, at + 801)
    assert_parts_are_the_whole(b.build(), Selection(), random.Random(4))


def test_what_lies_outside_the_steps_is_a_part_of_its_own():
    """GIVEN a kernel in a step and one after it, with a forward pass each THEN the second is outside, with its pass"""
    b = TraceBuilder().step(0, 0, 100).launched("in", 10, 10, 20).launched("out", 150, 150, 165)
    b.range("perfkit.phase::forward", 5, 30).range("perfkit.phase::forward", 140, 190)
    _, outside = account_for(trace := b.build(), attribute(trace)).parts()
    assert (outside.total.tolist(), outside.steps, outside.steps_only) == ([15], (), True)
    assert outside.parts() == (outside,)
    assert passes(outside.partial, Phase.FORWARD) == 1
    assert range_table(outside.partial).frame[["name", "total_ns"]].to_numpy().tolist() == [["phase::forward", 50]]


# --- recordings of their own ----------------------------------------------------------------------------------------


Step = Callable[[TraceBuilder, int], object]


def made(steps: Sequence[Step], *, first: int = 0) -> Trace:
    """A recording of some steps, 1,000 ns each."""
    b = TraceBuilder()
    for number, step in enumerate(steps, first):
        step(b.step(number, 1000 * number, 1000 * number + 900), 1000 * number)
    devices = (Device(0, "H100"), Device(1, "A100"))
    return replace(saying(b.build(), devices=devices), source=f"from step {first}")


@st.composite
def steps(draw: st.DrawFn) -> list[Step]:
    """Steps whose kernels, layers and threads differ: each has names that others lack, and work in backward."""
    on_device = draw(st.booleans())
    names = st.sampled_from(("gemm", "relu", "softmax", "elementwise", "reduce"))
    work = st.tuples(names, st.integers(0, 3), st.integers(1, 60), st.integers(0, 1))
    plans = draw(st.lists(st.lists(work, min_size=1, max_size=6), min_size=2, max_size=5))

    def step(plan: list[tuple[str, int, int, int]]) -> Step:
        def lay(b: TraceBuilder, at: int) -> None:
            for index, (name, layer, length, thread) in enumerate(plan):
                begin = at + 100 * index
                b.module(f"layers.{layer}", begin, begin + 80, thread=0)
                b.range(f"aten::{name}", begin + 5, begin + 70, thread=0, sequence=at + index)
                b.range("beside", begin, begin + length, thread=1)
                if on_device:
                    b.launched(name, begin + 10, begin + 10, begin + 10 + length, device=thread)
                    b.launched("Memcpy HtoD", begin + 20, begin + 20, begin + 25, kind=DeviceKind.MEMCPY, bytes=length)
            b.node("MmBackward0", at + 700, at + 740, at)
            if on_device:
                b.launched("late", at + 720, at + 720, at + 760)

        return lay

    return [step(plan) for plan in plans]


@given(steps=steps(), grouping=st.randoms(use_true_random=False))
@settings(max_examples=8, deadline=None)
def test_recordings_of_a_step_each_make_the_recording_of_all(steps, grouping):
    """GIVEN steps that were recorded one by one, each with dictionaries of its own WHEN merged THEN as recorded in one

    Layers come first in other orders, so ties are the one thing that the order of first appearance decides. Wall time
    differs: what a device does between two recordings is in neither of them, and no gap goes from one into the other.
    """
    each = [made([step], first=number) for number, step in enumerate(steps)]
    partials = [account_for(one, attribute(one)).partial for one in each]
    whole = account_for(trace := made(steps), attribute(trace)).partial
    result = merged(partials, grouping)
    assert_equal(result, whole, [table for table in TABLES if table not in OF_WALL_TIME])
    parts, at_once = (wall_table(partial).frame for partial in (result, whole))
    recorded = at_once[at_once["kind"] != "idle"]
    pd.testing.assert_frame_equal(
        parts[parts["kind"] != "idle"].reset_index(drop=True), recorded.reset_index(drop=True), check_exact=True
    )
    assert result.facts.sources == tuple(one.source for one in each)


def test_host_times_do_not_count_beside_device_work():
    """GIVEN one recording with a kernel and one without WHEN merged in either order THEN the kernel is all there is"""
    device = TraceBuilder().launched("gemm", 10, 10, 30).build()
    host = replace(TraceBuilder().step(0, 0, 50).range("aten::mm", 10, 40).build(), source="host")
    parts = [account_for(one, attribute(one)).partial for one in (host, host, device)]
    for order in (parts, parts[::-1]):
        assert summary(merge(order))["total_ns"] == 20
        assert summary(merge([merge(order[:2]), order[2]]))["total_ns"] == 20


# --- merging --------------------------------------------------------------------------------------------------------


def partial_of(b: TraceBuilder, **selection) -> Partial:
    return account_for(trace := b.build(), attribute(trace), Selection(**selection)).partial


def test_a_recording_without_scopes_goes_with_any_other():
    """GIVEN a recording with modules and one with operators alone WHEN merged in either order THEN both have rows"""
    parts = [
        partial_of(TraceBuilder().module("net", 0, 50).launched("k", 10, 0, 5)),
        partial_of(TraceBuilder().range("aten::mm", 0, 50).launched("k", 10, 0, 7)),
    ]
    for order in (parts, parts[::-1]):
        result = merge(order)
        assert (result.facts.scope_source.value, result.facts.layers_by.value) == ("perfkit", "modules")
        table = group_table(result, "component").frame
        assert dict(zip(table["scope"], table["total_ns"], strict=True)) == {"net": 5, "aten::mm": 7}


def test_parts_of_different_phases_are_no_whole():
    b = TraceBuilder().module("net", 0, 50).launched("k", 10, 0, 5)
    with pytest.raises(ValueError, match="different phases"):
        merge([partial_of(b), partial_of(b, phase=Phase.FORWARD)])


def test_nothing_is_no_whole():
    with pytest.raises(ValueError, match="nothing to merge"):
        merge([])


def test_parts_that_spell_scopes_differently_are_no_whole():
    perfkit = TraceBuilder().module("net.fc", 0, 50).launched("k", 10, 0, 5)
    foreign = TraceBuilder().annotation("fc", 0, 50).launched("k", 10, 0, 5)
    with pytest.raises(ValueError, match="spell scopes differently"):
        merge([partial_of(perfkit), partial_of(foreign)])
    assert merge([partial_of(TraceBuilder()), partial_of(perfkit)]).facts.qualified  # without scopes it spells nothing


def test_a_fold_is_made_once_and_only_when_it_is_asked_for():
    made: list[Account] = []

    def rows(account: Account) -> dict[str, np.ndarray]:
        made.append(account)
        return {"phase": account.phase, "events": np.ones(len(account), dtype=np.int64)}

    fold = Fold("events", rows, keys=("phase",), measures={"events": "sum"})
    whole = merge([partial_of(TraceBuilder().launched("k", 0, 0, 5).launched("k", 6, 6, 9)) for _ in range(2)])
    assert made == []
    for _ in range(3):
        assert whole.of(fold).to_dict("list") == {"phase": [int(Phase.OTHER)], "events": [4]}
    assert len(made) == 2


@given(st.lists(st.tuples(st.integers(-1, 3), st.integers(-1, 2**40), st.integers(-1, 2**40), st.integers(0, 9))))
def test_rows_of_equal_keys_are_added_up_in_the_order_in_which_they_come_first(rows):
    """GIVEN keys of which some are so large that all combinations have no number WHEN added up THEN as a dict does"""
    fold = Fold("rows", lambda _: {}, keys=("a", "b", "c"), measures={"x": "sum", "least": "min", "most": "max"})
    expected: dict[tuple[int, ...], list[int]] = {}
    for *key, value in rows:
        expected.setdefault(tuple(key), []).append(value)
    columns = [np.array(column, dtype=np.int64) for column in zip(*rows, strict=True)] or [np.empty(0, np.int64)] * 4
    added = fold.added(
        dict(zip(("a", "b", "c", "x", "least", "most"), [*columns, columns[3], columns[3]], strict=True))
    )
    assert [tuple(row) for row in added.to_numpy().tolist()] == [
        (*key, sum(values), min(values), max(values)) for key, values in expected.items()
    ]
    assert (added.dtypes == np.int64).all()
    again = fold.added(columns_of(added))
    pd.testing.assert_frame_equal(again, added)


def every_fold() -> tuple[Fold, ...]:
    """The folds at the top of the modules that count; one that several modules import comes once."""
    rooms = (time, costs)
    names = [module.name for room in rooms for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}.")]
    values = [value for name in names for value in vars(importlib.import_module(name)).values()]
    return tuple(dict.fromkeys(value for value in values if isinstance(value, Fold)))


def test_every_fold_is_named_for_who_sends_partials():
    assert set(FOLDS) == set(every_fold())


@given(seed=st.integers(0, 10_000))
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_partials_that_went_to_another_process_make_the_whole(tmp_path, seed):
    """GIVEN the parts of a trace, settled and pickled WHEN they are merged THEN that is the whole, to the last bit"""
    random_traces.write_json(random_traces.generate(seed), tmp_path / "t.json")
    trace = load(tmp_path / "t.json")
    whole = account_for(trace, attribute(trace), Selection())
    sent = [pickle.loads(pickle.dumps(part.partial.settled(*FOLDS))) for part in whole.parts()]
    assert_equal(merge(sent), whole.partial)
    assert len({fold.name for fold in FOLDS}) == len(FOLDS)


def test_a_settled_partial_has_no_other_rows():
    trace = load(SAMPLE)
    settled = account_for(trace, attribute(trace)).partial.settled(CELLS)
    assert len(settled.of(CELLS))
    with pytest.raises(ValueError, match="settled without the fold passes"):
        settled.of(PASSES)


def test_cells_are_few_where_kernels_run_again():
    b = TraceBuilder().module("net", 0, 500)
    for at in range(0, 500, 10):
        b.launched("k", at, at, at + 5)
    cells = partial_of(b).of(CELLS)
    assert (len(cells), cells["count"].tolist(), cells["total_ns"].tolist()) == (1, [50], [250])
