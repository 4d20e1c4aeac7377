"""The icicle and the heat map hold every nanosecond of the tables."""

from __future__ import annotations

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.kernels.short_names.unique import short_names
from perfkit.analysis.reports.page import layers
from perfkit.analysis.time.account import account_for
from perfkit.schema.page.figures import HeatMap, Tree
from tests.builders import TraceBuilder


def model() -> TraceBuilder:
    """Layers 2 and 10 with a kernel of 10 and 30 ns in a part of each, and 5 ns outside."""
    b = TraceBuilder().step(0, 0, 300).module("layers.10", 0, 90).module("layers.10.attn", 1, 80)
    b.launched("gemm", 10, 400, 430).module("layers.2", 100, 190).module("layers.2.attn", 101, 180)
    return b.launched("gemm", 110, 430, 440).launched("stray", 250, 440, 445)


def figures(builder: TraceBuilder):
    trace = builder.build()
    section = layers.section(account_for(trace, attribute(trace)).partial, ())
    return section, {type(figure): figure for figure in section.figures}


def test_the_icicle_has_each_module_once_below_its_parent():
    """GIVEN two layers with a part each THEN root, layers, both, their parts; own times add up to 45 ns"""
    _, drawn = figures(model())
    tree = drawn[Tree]
    above = {label: tree.labels[parent] for label, parent in zip(tree.labels, tree.parents, strict=True) if parent >= 0}
    assert above == {
        "layers": "all", "layers.2": "layers", "layers.10": "layers", "layers.2.attn": "layers.2",
        "layers.10.attn": "layers.10", "<unattributed>": "all",
    }  # fmt: skip
    assert sum(map(sum, tree.own)) == 45
    assert sum(tree.own[tree.labels.index("layers.10.attn")]) == 30
    assert tree.parents[0] == -1
    assert all(parent < row for row, parent in enumerate(tree.parents))


def test_a_module_without_a_name_is_a_module():
    """GIVEN a module called "" beside another THEN both are below the root, and nothing is its own parent"""
    b = TraceBuilder().step(0, 0, 300).module("", 0, 90).launched("gemm", 10, 400, 430)
    b.module("net", 100, 190).launched("gemm", 110, 430, 440)
    tree = figures(b)[1][Tree]
    assert dict(zip(tree.labels, tree.parents, strict=True)) == {"all": -1, "": 0, "net": 0}
    assert sum(map(sum, tree.own)) == 40


def test_kernels_in_place_of_modules_have_their_short_names():
    """GIVEN kernels that no range and no operator launched THEN icicle, heat map and takeaway read their short names"""
    names = [f"void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_bf16_128x{n}_32x5_tn_align8>(P)" for n in "68"]
    b = TraceBuilder()
    for at, name in enumerate(names):
        b.launched(name, 10 * at, 100 * at, 100 * at + 50 + at)
    section, drawn = figures(b)
    short = short_names(names)
    assert set(drawn[Tree].labels) == {"all", *short.values()}
    assert set(drawn[HeatMap].rows) == set(short.values())
    assert short[names[1]] in section.takeaway


def test_modules_without_room_are_part_of_what_contains_them(monkeypatch):
    """GIVEN room for two nodes THEN their own times still add up to 45 ns, and a note says how many are left out"""
    monkeypatch.setattr(layers, "MOST_NODES", 2)
    section, drawn = figures(model())
    assert len(drawn[Tree].labels) == 3
    assert sum(map(sum, drawn[Tree].own)) == 45
    assert section.notes[0].startswith("4 modules with little time")


def test_the_heat_map_is_in_the_order_of_the_model():
    """GIVEN layers 2 and 10 THEN 2 comes first, rest rows last, cells have the kernels' times"""
    _, drawn = figures(model())
    heat = drawn[HeatMap]
    assert heat.rows == ("layers.2", "layers.10", "<unattributed>")
    assert heat.columns[0] == "forward"
    assert [row[0] for row in heat.values[:2]] == [10, 30]


def test_the_sentence_names_the_largest():
    section, _ = figures(model())
    assert section.takeaway.endswith("layers.10.attn has most time of its own: 30.00 ns a step, 66.7%")


def test_nothing_to_attribute_is_said():
    """GIVEN a trace without any event WHEN asked THEN no figure, and a reason"""
    section, drawn = figures(TraceBuilder())
    assert not drawn
    assert section.lacking == "the recording has no work to attribute"
