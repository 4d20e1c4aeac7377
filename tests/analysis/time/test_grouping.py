"""Grouping by whatever is asked for: which rows there are, what they hold, and which columns go with them."""

from __future__ import annotations

import math
import tracemalloc

import pytest

from perfkit.analysis.attribution.attribute import COMMUNICATION, UNATTRIBUTED, Phase, attribute
from perfkit.analysis.attribution.paths import SEPARATOR
from perfkit.analysis.time import grouping
from perfkit.analysis.time.account import Account, Selection, account_for
from perfkit.schema.table import Table
from perfkit.trace.columns import HostKind
from tests.analysis import columns
from tests.builders import TraceBuilder

SIDE_PHASES = ["recompute", "optimizer", "other"]


def account(builder: TraceBuilder, **selection) -> Account:
    trace = builder.build()
    return account_for(trace, attribute(trace), Selection(**selection))


def sums(table: Table) -> dict[str, int]:
    return dict(zip(table.frame["scope"], table.frame["total_ns"].tolist(), strict=True))


def two_layers() -> TraceBuilder:
    """Two steps of a model of two layers, an embedding and a head: ns of kernels by step as `durations` has them."""
    b = TraceBuilder()
    durations = {"embedding": (1, 3), "layers.0.attn": (10, 30), "layers.1.attn": (20, 20), "head": (5, 0)}
    for step in (0, 1):
        at = 1000 * step
        b.step(step, at, at + 1000).module("Model", at, at + 900)
        for number, (path, times) in enumerate(durations.items()):
            begin = at + 100 * number + 10
            b.module(path, begin, begin + 80).range("aten::mm", begin + 10, begin + 50)
            if times[step]:
                b.launched("gemm", begin + 20, begin + 20, begin + 20 + times[step])
    return b


def test_layers_fold_into_one_row_with_all_that_is_known_of_them():
    """GIVEN layers of 40 ns each in two steps WHEN grouped THEN mean, max, spread and counts are those of the layers"""
    table = grouping.group_table(account(two_layers()).partial, "layer")
    rows = table.frame.set_index("scope").to_dict("index")
    layers = rows["layers.*"]
    assert (layers["x"], layers["count"], layers["total_ns"], layers["exclusive_ns"]) == (2, 4, 80, 80)
    assert (layers["mean_ns"], layers["max_ns"], layers["max_at"]) == (40.0, 40, "layers.1")  # the last of equals
    assert (layers["forward"], layers["share"], layers["step_share"]) == (80, 80 / 89, 80 / 2000)
    # steps of 30 and 50 ns: mean 40, std sqrt(((-10)^2 + 10^2) / 1)
    assert (layers["step_mean_ns"], layers["step_std_ns"]) == (40.0, pytest.approx(math.sqrt(200)))
    assert layers["count_per_step"] == 2.0
    assert rows["head"]["x"] == 1
    assert math.isnan(rows["head"]["mean_ns"])
    # the head has nothing in the second step, which counts as 0 ns there: steps of 5 and 0
    assert (rows["head"]["step_mean_ns"], rows["head"]["count_per_step"]) == (2.5, 0.5)
    assert rows["head"]["step_std_ns"] == pytest.approx(math.sqrt(12.5))


def test_columns_of_layers():
    table = grouping.group_table(account(two_layers()).partial, "layer")
    assert columns.names(table) == [
        "scope", "x", "count", "forward", "total_ns", "exclusive_ns", "share", "step_share",
        "step_mean_ns", "step_std_ns", "count_per_step", "mean_ns", "max_ns", "max_at",
    ]  # fmt: skip
    assert columns.summed(table) == ["count", "forward", "total_ns", "exclusive_ns", "share", "step_share"]
    assert columns.spare(table) == [
        "exclusive_ns", "step_share", "step_mean_ns", "step_std_ns", "count_per_step", "mean_ns", "max_ns", "max_at",
    ]  # fmt: skip
    by_name = {column.name: column for column in table.columns}
    assert (by_name["forward"].unit, by_name["forward"].kind) == ("ns", "time")
    assert by_name["scope"].heading == "layer"
    columns.assert_regular(without(table, "forward"))
    assert (table.name, table.title, table.pinned) == ("groups", "By layer", 0)


def without(table: Table, *names: str) -> Table:
    kept = tuple(column for column in table.columns if column.name not in names)
    return Table(table.name, table.title, kept, table.frame)


def test_phases_have_columns_where_they_have_work_and_side_ones_may_go():
    """GIVEN work in every phase WHEN grouped THEN each has a column but communication and what was not launched"""
    b = two_layers().launched("ncclKernel", 900, 900, 907).event("early", -10, -5).launched("stray", 950, 950, 951)
    b.range("perfkit.phase::optimizer", 910, 940).launched("adam", 920, 920, 922)
    b.range("aten::mm", 121, 125, sequence=1)
    b.node("MmBackward0", 1800, 1850, 1).launched("gemm", 1810, 1810, 1812)
    b.range("perfkit.recompute::head", 1860, 1890).launched("gemm", 1870, 1870, 1873)
    table = grouping.group_table(account(b).partial, "layer")
    phases = ["forward", "recompute", "backward", "optimizer", "other"]
    assert [name for name in columns.names(table) if name in [phase.label for phase in Phase]] == phases
    assert [name for name in columns.spare(table) if name in phases] == SIDE_PHASES
    rows = table.frame.set_index("scope")
    assert table.frame["scope"].tolist()[-2:] == [COMMUNICATION, UNATTRIBUTED]
    assert table.pinned == 2
    assert (rows.loc["head", "recompute"], rows.loc["optimizer", "optimizer"], rows.loc[UNATTRIBUTED, "other"]) == (
        3, 2, 1,
    )  # fmt: skip
    assert rows.loc["layers.*", "backward"] == 2


def test_one_step_has_no_spread_and_a_trace_without_steps_no_share_of_them():
    one = TraceBuilder().step(0, 0, 100).module("net", 0, 90).launched("k", 5, 10, 20)
    none = TraceBuilder().module("net", 0, 90).launched("k", 5, 10, 20)
    with_share = columns.names(grouping.group_table(account(one).partial, "component"))
    without_steps = grouping.group_table(account(none).partial, "component")
    assert "step_share" in with_share
    assert not {"step_mean_ns", "step_std_ns", "count_per_step"} & set(with_share)
    assert "step_share" not in columns.names(without_steps)
    assert without_steps.frame["step_share"].isna().all()


def test_a_count_per_step_of_one_step_is_the_count():
    b = TraceBuilder().step(0, 0, 100).module("net", 0, 90).launched("k", 5, 10, 20)
    frame = grouping.group_table(account(b).partial, "component").frame
    assert frame["count_per_step"].tolist() == [1]


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("layer", {"layers.*": 80, "embedding": 4, "head": 5}),
        ("module", {"layers.1.attn": 40, "layers.0.attn": 40, "head": 5, "embedding": 4}),
        ("component", {"layers.*.attn": 80, "head": 5, "embedding": 4}),
        ("class", {"attn": 80, "head": 5, "embedding": 4}),
        ("phase", {"forward": 89}),
        ("op", {"aten::mm": 89}),
        ("kernel", {"gemm": 89}),
    ],
)
def test_every_grouping_of_one_account(by, expected):
    assert sums(grouping.group_table(account(two_layers()).partial, by)) == expected


def test_rows_are_longest_first_and_equal_ones_go_by_name():
    frame = grouping.group_table(account(two_layers()).partial, "module").frame
    assert frame["scope"].tolist() == ["layers.0.attn", "layers.1.attn", "head", "embedding"]


def test_work_outside_every_operator_is_unattributed_by_operator():
    b = TraceBuilder().module("net", 0, 90).range("aten::mm", 10, 20).launched("gemm", 12, 12, 20)
    by_operator = grouping.group_table(account(b.launched("triton", 30, 30, 35)).partial, "op")
    assert sums(by_operator) == {"aten::mm": 8, UNATTRIBUTED: 5}
    assert by_operator.pinned == 1
    assert sums(grouping.group_table(account(b).partial, "kernel")) == {"gemm": 8, "triton": 5}


@pytest.mark.parametrize(
    ("by", "depth", "title", "expected"),
    [
        ("module", 1, "By module, to depth 1", {"layers": 80, "head": 5, "embedding": 4}),
        ("module", 2, "By module, to depth 2", {"layers.0": 40, "layers.1": 40, "head": 5, "embedding": 4}),
        ("module", 9, "By module, to depth 9", {"layers.0.attn": 40, "layers.1.attn": 40, "head": 5, "embedding": 4}),
        ("component", 2, "By component, to depth 2", {"layers.*": 80, "head": 5, "embedding": 4}),
        ("layer", 1, "By layer, to depth 1", {"layers": 80, "head": 5, "embedding": 4}),
        ("module", None, "By module, self time", {"layers.0.attn": 40, "layers.1.attn": 40, "head": 5, "embedding": 4}),
        ("kernel", 1, "By kernel", {"gemm": 89}),
    ],
)
def test_a_depth_cuts_module_paths(by, depth, title, expected):
    table = grouping.group_table(account(two_layers()).partial, by, depth=depth)
    assert sums(table) == expected
    assert table.title == title
    assert len(table.notes) == (by == "kernel")


def test_unfolded_layers_have_rows_of_their_own():
    table = grouping.group_table(account(two_layers()).partial, "layer", fold=False)
    assert sums(table) == {"layers.0": 40, "layers.1": 40, "head": 5, "embedding": 4}
    assert table.frame["x"].tolist() == [1, 1, 1, 1]


def test_time_with_children_belongs_to_modules_alone():
    """GIVEN modules that run in a root, or that a tree puts there WHEN grouped THEN the root has their time alone"""
    b = two_layers().launched("root", 880, 880, 900).launched("stray", 950, 950, 957)
    b.metadata = {
        "perfkit": {"modules": dict.fromkeys(["Model", "embedding", "layers.0.attn", "head", "aside"], "Module")}
    }
    b.module("layers.0", 600, 650).launched("k", 610, 610, 616)
    b.module("aside", 920, 940).launched("k", 925, 925, 926).module("stranger", 960, 970).launched("k", 965, 965, 967)
    table = grouping.group_table(account(b, steps="all").partial, "module")
    assert dict(zip(table.frame["scope"], table.frame["inclusive_ns"], strict=True)) == {
        "layers.0.attn": 40, "layers.1.attn": 40, "layers.0": 46, "head": 5, "embedding": 4, "aside": 1,
        "stranger": 2, UNATTRIBUTED: 7, "Model": 40 + 40 + 6 + 5 + 4 + 1 + 20,
    }  # fmt: skip
    assert "inclusive_ns" in columns.names(table)
    assert "inclusive_ns" not in columns.summed(table)
    columns.assert_regular(without(table, "forward", "other"))
    assert "inclusive_ns" not in columns.names(grouping.group_table(account(b).partial, "class"))


def test_a_root_without_a_tree_has_the_time_of_what_runs_in_it():
    """GIVEN no tree, a module called three times, and backward WHEN grouped THEN the root has the sum, not its own"""
    b = TraceBuilder().step(0, 0, 1000).module("Shared", 0, 400)
    for at in (50, 150, 250):
        b.module("fc", at, at + 80).range("aten::mm", at + 10, at + 20, sequence=at).launched("k", at + 12, at, at + 30)
    b.launched("k", 390, 390, 397).node("MmBackward0", 500, 550, 150).launched("k", 510, 510, 561)
    table = grouping.group_table(account(b).partial, "module")
    assert dict(zip(table.frame["scope"], table.frame["inclusive_ns"], strict=True)) == {"fc": 141, "Shared": 148}
    assert sums(table) == {"fc": 141, "Shared": 7}


def test_two_roots_with_names_of_their_own_have_the_time_of_their_parts():
    b = TraceBuilder().step(0, 0, 1000)
    for root, at, time in (("G", 0, 10), ("D", 500, 20)):
        b.module(root, at, at + 400).launched("k", at + 350, at + 350, at + 351)
        b.module(f"{root}.0", at + 50, at + 300).launched("k", at + 60, at + 60, at + 60 + time)
    b.metadata = {"perfkit": {"modules": dict.fromkeys(["G", "G.0", "D", "D.0"], "Module")}}
    table = grouping.group_table(account(b, steps="all").partial, "module")
    inclusive = dict(zip(table.frame["scope"], table.frame["inclusive_ns"], strict=True))
    assert inclusive == {"G.0": 10, "D.0": 20, "G": 11, "D": 21}


def test_annotations_beside_modules_keep_their_spelling():
    """GIVEN ranges with dots in their names beside qualified modules WHEN grouped THEN only modules are cut at dots"""
    b = two_layers().annotation("loader.py", 3000, 3100).annotation("fetch.v2", 3010, 3090)
    b.launched("k", 3020, 3020, 3021).launched("k", 3095, 3095, 3097)
    partial = account(b).partial
    assert sums(grouping.group_table(partial, "component"))["loader.py/fetch.v2"] == 1
    by_module = grouping.group_table(partial, "module").frame.set_index("scope")["inclusive_ns"]
    assert (by_module["loader.py"], by_module["loader.py/fetch.v2"]) == (3, 1)
    cut = sums(grouping.group_table(partial, "module", depth=1))
    assert (cut["loader.py"], cut["layers"]) == (3, 80)
    assert sums(grouping.group_table(partial, "layer"))["loader.py"] == 3


def test_annotations_beside_modules_fold_by_their_numbers():
    b = two_layers().annotation("batch 0", 3000, 3100).launched("k", 3020, 3020, 3021)
    b.annotation("batch 1", 3200, 3300).launched("k", 3220, 3220, 3222)
    partial = account(b).partial
    assert sums(grouping.group_table(partial, "component"))["batch *"] == 3
    assert {"batch 0", "batch 1"} <= sums(grouping.group_table(partial, "component", fold=False)).keys()


@pytest.mark.parametrize(("second", "folds"), [("ReLU", False), ("Linear", True)])
def test_the_plain_parts_of_a_sequence_are_no_layers(second, folds):
    """GIVEN numbered modules with nothing in them WHEN grouped THEN they fold only where all are of one class"""
    b = TraceBuilder().module("0", 0, 100).launched("k", 10, 10, 15).module("1", 200, 300).launched("k", 210, 210, 217)
    b.metadata = {"perfkit": {"modules": {"": "Sequential", "0": "Linear", "1": second}}}
    assert sums(grouping.group_table(account(b).partial, "component")) == ({"*": 12} if folds else {"0": 5, "1": 7})


def test_classes_are_the_trees_where_it_has_the_module():
    b = two_layers()
    b.metadata = {
        "perfkit": {"modules": {"layers.0.attn": "Attention", "layers.1.attn": "Attention", "head": "Linear"}}
    }
    assert sums(grouping.group_table(account(b).partial, "class")) == {"Attention": 80, "Linear": 5, "embedding": 4}


# --- foreign names ------------------------------------------------------------------------------------------------


def frames(*paths: tuple[str, ...]) -> TraceBuilder:
    """Nested module frames of a profile with Python stacks, each path 100 ns later and its kernel 1 ns longer."""
    b = TraceBuilder()
    for number, path in enumerate(paths):
        at = 100 * number
        for level, name in enumerate(path):
            b.range(f"nn.Module: {name}", at + level, at + 90 - level, HostKind.PYTHON)
        b.launched("gemm", at + 50, at + 50, at + 60 + number)
    return b


BERT = (("Bert_0", "Layer_0", "Linear_0"), ("Bert_0", "Layer_1", "Linear_1"), ("Bert_0", "Head_0"))


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("component", {"Bert_0/Layer_*/Linear_*": 21, "Bert_0/Head_0": 12}),
        ("layer", {"Bert_0/Layer_*": 21, "Bert_0": 12}),
        ("class", {"Linear": 21, "Head": 12}),
    ],
)
def test_frames_with_counters_fold_where_there_are_several_of_a_kind(by, expected):
    """GIVEN Layer_0 and Layer_1 beside each other, and one Head_0 WHEN grouped THEN only the layers fold"""
    assert sums(grouping.group_table(account(frames(*BERT)).partial, by)) == expected


def test_one_of_a_kind_is_no_layer():
    table = grouping.group_table(account(frames(("Net_0", "Layer_0", "Linear_0"))).partial, "component")
    assert sums(table) == {"Net_0/Layer_0/Linear_0": 10}


def test_frames_without_a_counter_keep_their_names():
    b = frames(("Net", "Part_a", "Linear_0"), ("Net", "Part_b", "Linear_1"))
    assert sums(grouping.group_table(account(b).partial, "component")) == {
        "Net/Part_a/Linear_0": 10,
        "Net/Part_b/Linear_1": 11,
    }
    assert sums(grouping.group_table(account(b).partial, "class")) == {"Linear": 21}
    assert sums(grouping.group_table(account(frames(("Net", "Part_a"))).partial, "class")) == {"Part_a": 10}


def test_layers_at_the_top_fold_too():
    b = TraceBuilder()
    for number in range(3):
        b.module(f"{number}.fc", 100 * number, 100 * number + 90).launched("k", 100 * number + 10, 10, 20 + number)
    assert sums(grouping.group_table(account(b).partial, "component")) == {"*.fc": 33}
    assert sums(grouping.group_table(account(b).partial, "layer")) == {"*": 33}


def test_only_the_outermost_layer_folds():
    """GIVEN layers in layers WHEN grouped THEN the outer number is starred and the inner one stays"""
    b = TraceBuilder()
    for number, path in enumerate(("stages.0.blocks.0", "stages.0.blocks.1", "stages.1.blocks.0")):
        b.module(path, 100 * number, 100 * number + 90).launched("k", 100 * number + 10, 10, 20)
    assert set(sums(grouping.group_table(account(b).partial, "component"))) == {
        "stages.*.blocks.0",
        "stages.*.blocks.1",
    }
    assert set(sums(grouping.group_table(account(b).partial, "layer"))) == {"stages.*"}


def test_annotations_fold_by_their_numbers_wherever_they_stand():
    """GIVEN a user's ranges THEN numbers fold at every level, and in classes; the outermost makes the layer"""
    b = TraceBuilder()
    for number, path in enumerate((("enc", "0", "part_0"), ("enc", "1", "part_1"))):
        for level, name in enumerate(path):
            b.annotation(name, 100 * number + level, 100 * number + 90 - level)
        b.launched("k", 100 * number + 50, 10, 20)
    found = account(b)
    assert sums(grouping.group_table(found.partial, "component")) == {"enc/*/part_*": 20}
    assert sums(grouping.group_table(found.partial, "layer")) == {"enc/*": 20}
    assert sums(grouping.group_table(found.partial, "class")) == {"part_*": 20}
    assert sums(grouping.group_table(found.partial, "module")) == {"enc/0/part_0": 10, "enc/1/part_1": 10}
    assert sums(grouping.group_table(found.partial, "component", depth=2)) == {"enc/*": 20}
    for by in ("component", "layer", "class"):
        assert len(sums(grouping.group_table(found.partial, by, fold=False))) == 2
    assert grouping.names_of(found.partial) == grouping.Names(SEPARATOR, {}, numbered=False)


def test_how_many_instances_a_folded_row_has():
    """GIVEN four iterations of three layers, as users name them THEN the steps are no part of the layers' names"""
    b = TraceBuilder()
    for iteration in range(4):
        at = 1000 * iteration
        b.annotation(f"iteration {iteration}", at, at + 900).launched("k", at + 800, at + 800, at + 810)
        for layer in range(3):
            b.annotation(f"layer {layer}", at + 100 * layer, at + 100 * layer + 90)
            b.launched("k", at + 100 * layer + 10, at + 100 * layer, at + 100 * layer + 50)
    frame = grouping.group_table(account(b).partial, "component").frame
    assert frame[["scope", "x", "count", "total_ns"]].to_numpy().tolist() == [
        ["layer *", 3, 12, 600], ["iteration *", 4, 4, 40],
    ]  # fmt: skip


def test_how_names_are_spelled():
    """GIVEN module frames WHEN the tree is known THEN names are paths with dots, else they carry counters"""
    trace = frames(("Net_0", "Linear_0")).build()
    tree = {"net": "Net", "net.proj": "Linear"}
    plain, named = (account_for(trace, attribute(trace, modules=modules)) for modules in ({}, tree))
    assert grouping.names_of(plain.partial) == grouping.Names(SEPARATOR, {}, numbered=True)
    assert grouping.names_of(named.partial) == grouping.Names(".", tree, numbered=False)


@pytest.mark.parametrize(("before", "layer"), [(254, "a." * 254 + "*"), (255, "a")])
def test_a_number_behind_256_components_is_no_layer(before, layer):
    """GIVEN modules whose number is their 255th component or 256th WHEN there is more behind THEN the last that is told
    apart is all of the rest"""
    b = TraceBuilder()
    for number in (0, 1):
        path = "a." * before + f"{number}.rest"
        b.module(path, 100 * number, 100 * number + 90).launched("k", 100 * number + 50, 10, 20)
        assert len(grouping.Names(".", {}, numbered=False).parts(path)) == 256
    assert sums(grouping.group_table(account(b).partial, "layer")) == {layer: 20}


def test_fronts_of_paths_that_no_row_has_are_not_kept():
    """GIVEN 20 paths of 51 kB, whose 255 fronts are 6.5 MB WHEN grouped by module THEN their 130 MB are never there"""
    b = TraceBuilder()
    for number in range(20):
        path = ".".join(f"{number}{'x' * 198}" for _ in range(256))
        b.module(path, 100 * number, 100 * number + 90).launched("k", 100 * number + 50, 10, 20)
    found = account(b)
    grouping.group_table(found.partial, "module")  # whatever is loaded at its first use
    tracemalloc.start()
    try:
        grouping.group_table(found.partial, "module")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


# --- for people ---------------------------------------------------------------------------------------------------


def test_rows_that_are_kernels_have_short_names():
    """GIVEN a kernel in a module, and one in a trace that names nothing else THEN people read its short name"""
    full = (
        "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>, at::detail::Array>(int)"
    )
    b = TraceBuilder().step(0, 0, 100).module("net", 0, 90).launched(full, 5, 20, 40)
    bare = TraceBuilder().event(full, 20, 40)
    by_kernel = grouping.group_table(account(b).partial, "kernel")
    for table in (by_kernel, grouping.group_table(account(bare).partial, "component")):
        assert table.frame[["scope", "short_name"]].to_numpy().tolist()[0] == [full, "add · float · vectorized x4"]
        assert columns.names(table.seen_by("people"))[0] == "short_name"
        assert columns.names(table.in_full().seen_by("people"))[0] == "scope"
    assert "short_name" not in grouping.group_table(account(b).partial, "component").frame


SHARES = ["share", "step_share"]
STEPS = ["step_mean_ns", "step_std_ns"]


@pytest.mark.parametrize(
    ("by", "fold", "shown"),
    [
        ("layer", True, ["scope", "x", "forward", "total_ns", *SHARES, "mean_ns", "max_ns", "max_at"]),
        ("layer", False, ["scope", "forward", "total_ns", *SHARES, *STEPS]),
        ("component", True, ["scope", "x", "forward", "total_ns", *SHARES, *STEPS]),
        ("kernel", True, ["short_name", "forward", "total_ns", *SHARES, *STEPS]),
    ],
)
def test_people_see_the_columns_that_say_something(by, fold, shown):
    """GIVEN folded layers, other folded rows, or none WHEN shown THEN spread over layers, or over steps; x if folded"""
    table = grouping.group_table(account(two_layers()).partial, by, fold=fold)
    people = table.seen_by("people")
    assert columns.names(people) == shown
    assert (people.name, people.title, people.notes, people.pinned) == (table.name, table.title, table.notes, 0)


def test_exclusive_time_is_shown_where_it_differs():
    b = TraceBuilder().module("net", 0, 90).launched("a", 5, 10, 20).launched("b", 6, 15, 25, stream=8)
    assert "exclusive_ns" in columns.names(grouping.group_table(account(b).partial, "kernel").seen_by("people"))
