"""Kernels of compiled graphs, by Inductor's provenance: hand-built cases, and a real Triton trace."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from perfkit.analysis.attribution.attribute import UNATTRIBUTED, Phase, attribute
from perfkit.analysis.attribution.compiled import common_ancestor, matched
from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.attribution.scopes import How
from perfkit.analysis.reports.trace import findings_of
from perfkit.analysis.time.account import Selection, account_for
from perfkit.analysis.time.breakdown import layer_table
from perfkit.render import findings
from perfkit.schema.provenance import KernelCall
from perfkit.trace.chrome.recording import recording
from perfkit.trace.columns import MISSING, DeviceKind, HostKind, Trace
from perfkit.trace.load import load
from tests.builders import TraceBuilder
from tests.corpus import corpus_file

LAYER = ("", ".attn", ".attn.q", ".mlp")
PATHS = ("Model", "embedding", "layers", *(f"layers.{layer}{part}" for layer in (0, 1) for part in LAYER), "head")
MODULES = dict.fromkeys(PATHS, "Module")


def call(kernel, *modules):
    return {"kernel": kernel, "modules": list(modules)}


def metadata(**graphs):
    """perfkit's metadata; a graph whose key starts with b is a backward one."""
    described = {key: {"backward": key.startswith("b"), "calls": calls} for key, calls in graphs.items()}
    return {"perfkit": {"modules": MODULES, "provenance": {"graphs": described}}}


def graph(builder, key, start, end, **columns):
    return builder.range(f"## Call CompiledFxGraph {key} ##", start, end, **columns)


FORWARD = (
    call("extern_kernels.mm", "layers.0.attn.q"),
    call("cpp_fused_add_0", "layers.0", "layers.1.attn"),
    call("extern_kernels.mm", "layers.1.mlp"),
    call("torch.ops.aten.sort.stable", "head"),
    call("cpp_fused_mul_1", "embedding", "head"),
)
BACKWARD = (call("extern_kernels.mm", "layers.1.mlp"), call("cpp_fused_add_0", "layers.0.attn.q"))


def whole_model(**said):
    """One step of a model compiled as a whole: a forward graph inside the root's range, a backward graph in a node."""
    b = TraceBuilder(metadata=said or metadata(f1=FORWARD, b1=BACKWARD)).step(0, 0, 1000)
    b.module("Model", 10, 400).range("CompiledFunction", 20, 390, sequence=5)
    graph(b, "f1", 30, 380)
    b.range("aten::mm", 40, 100).range("aten::resolve_conj", 50, 60)
    b.range("graph_0_cpp_fused_add_0", 110, 150)
    b.range("aten::mm", 160, 240)
    b.range("aten::sort", 250, 280)
    b.range("graph_0_cpp_fused_mul_1", 290, 300)
    b.node("CompiledFunctionBackward", 500, 800, 5)
    graph(b, "b1", 510, 790)
    return b.range("aten::mm", 520, 600).range("graph_7_cpp_fused_add_0", 610, 700)


def by_layer(trace):
    frame = layer_table(account_for(trace, attribute(trace)).partial).frame
    return {(row["scope"], row["phase"]): row["total_ns"] for _, row in frame.iterrows()}


def the_remark(trace):
    lines = findings.lines(findings_of(account_for(trace, attribute(trace))))
    return [line for line in lines if line.startswith("provenance")]


def test_kernels_of_a_whole_model_go_to_their_modules():
    """GIVEN a compiled model with provenance WHEN attributed THEN each kernel is its module's, in its own phase"""
    table = by_layer(whole_model().build())
    assert table["layers.0.attn.q", "forward"] == 60  # with what runs inside the operation
    assert table["layers", "forward"] == 40  # fused: layers.0 and layers.1.attn
    assert table["layers.1.mlp", "forward"] == 80
    assert table["head", "forward"] == 30
    assert table["Model", "forward"] == 390 - (60 + 40 + 80 + 30)  # fused with no common module: the root
    assert table["layers.1.mlp", "backward"] == 80
    assert table["layers.0.attn.q", "backward"] == 90


def test_only_path_and_how_change():
    """GIVEN the same step with and without provenance WHEN attributed THEN phases and sums are equal"""
    with_it, without = whole_model().build(), whole_model(perfkit={"modules": MODULES}).build()
    found, plain = attribute(with_it), attribute(without)
    assert plain.compiled is None
    assert np.array_equal(found.ranges.phase, plain.ranges.phase)
    moved = found.ranges.how == How.PROVENANCE
    assert moved.sum() == 8
    assert np.array_equal(found.ranges.how[~moved], plain.ranges.how[~moved])
    assert np.array_equal(found.path_names(found.ranges.path, found.ranges.phase)[~moved],
                          plain.path_names(plain.ranges.path, plain.ranges.phase)[~moved])  # fmt: skip
    assert sum(by_layer(with_it).values()) == sum(by_layer(without).values()) == 1000
    assert not the_remark(without)


def test_fused_kernels_name_their_modules():
    """GIVEN kernels of several modules WHEN attributed THEN they are flagged and their modules kept"""
    trace = whole_model().build()
    found = attribute(trace)
    names = {found.host.name_of(row): modules for row, modules in found.compiled.sources.items()}
    assert names == {
        "graph_0_cpp_fused_add_0": ("layers.0", "layers.1.attn"),
        "graph_0_cpp_fused_mul_1": ("embedding", "head"),
    }
    assert found.compiled.fused.sum() == 2
    assert the_remark(trace) == [
        "provenance: 7 of 7 compiled kernels mapped (100.0% of their time),"
        " 2 fused across modules (shown at their common ancestor)"
    ]


@pytest.mark.parametrize(("phase", "kernels"), [(Phase.FORWARD, 5), (Phase.BACKWARD, 2), (Phase.OPTIMIZER, None)])
def test_the_remark_is_about_what_is_shown(phase, kernels):
    """GIVEN one phase of a trace WHEN reported THEN the remark counts its kernels, and is silent where it has none"""
    trace = whole_model().build()
    lines = findings.lines(findings_of(account_for(trace, attribute(trace), Selection(phase=phase))))
    found = [line for line in lines if line.startswith("provenance")]
    assert len(found) == (kernels is not None)
    assert all(line.startswith(f"provenance: {kernels} of {kernels} compiled kernels mapped") for line in found)


def test_one_graph_serves_several_layers():
    """GIVEN two layers that share one compiled graph WHEN attributed THEN its kernels are below the layer that ran"""
    b = TraceBuilder(metadata=metadata(f1=(call("extern_kernels.mm", "attn.q"), call("cpp_fused_0", "", "mlp"))))
    b.step(0, 0, 500).module("Model", 0, 500)
    for layer, start in enumerate((10, 110)):
        b.module(f"layers.{layer}", start, start + 90)
        graph(b, "f1", start + 1, start + 80)
        b.range("aten::mm", start + 2, start + 22).range("graph_0_cpp_fused_0", start + 30, start + 37)
    table = by_layer(b.build())
    assert table["layers.0.attn.q", "forward"] == table["layers.1.attn.q", "forward"] == 20
    assert table["layers.0", "forward"] == table["layers.1", "forward"] == 90 - 20
    assert attribute(b.build()).compiled.fused.sum() == 2


def test_device_events_follow_their_launch():
    """GIVEN Triton kernels, with Python frames between WHEN attributed THEN events are their kernel's modules'"""
    calls = (call("triton_poi_fused_0", "layers.0.mlp"), call("extern_kernels.mm", "head"), call("nccl", "head"))
    b = TraceBuilder(metadata=metadata(f1=calls)).step(0, 0, 500).module("Model", 0, 400)
    graph(b, "f1", 10, 300, kind=HostKind.ANNOTATION)
    b.range("<eval>: call", 15, 290, HostKind.PYTHON)
    b.range("triton_poi_fused_0", 20, 60).launched("triton_poi_fused_0", 30, 1000, 1100)
    b.range("aten::mm", 70, 120).launched("gemm", 80, 1100, 1300)
    b.range("Memset", 85, 86, HostKind.RUNTIME, correlation=7).event("Memset", 1090, 1095, DeviceKind.MEMSET,
                                                                     correlation=7)  # fmt: skip
    b.range("nccl", 130, 140).launched("ncclDevKernel", 135, 1300, 1310)
    b.launched("by the wrapper itself", 200, 1400, 1450)
    trace = b.build()
    assert by_layer(trace) == {
        ("layers.0.mlp", "forward"): 100,
        ("head", "forward"): 205,
        ("<communication>", "communication"): 10,
        ("Model", "forward"): 50,
    }
    how = dict(zip(trace.device_names(), attribute(trace).events.how, strict=True))
    assert how["gemm"] == how["Memset"] == How.PROVENANCE
    assert how["by the wrapper itself"] == How.SCOPE
    assert the_remark(trace) == [
        "provenance: 4 of 5 compiled kernels mapped (86.3% of their time),"
        " 0 fused across modules (shown at their common ancestor)"
    ]


def test_calls_that_cannot_be_told_are_left_alone():
    """GIVEN more events of a name than calls, and calls of no module WHEN attributed THEN those stay the root's"""
    calls = (call("extern_kernels.mm", "head"), call("cpp_fused_0"), call("cpp_fused_1", "head"))
    b = TraceBuilder(metadata=metadata(f1=calls)).step(0, 0, 101).module("Model", 0, 100)
    graph(b, "f1", 0, 90)
    b.range("aten::mm", 10, 20).range("aten::mm", 20, 30).range("cpp_fused_0", 30, 40).range("cpp_fused_1", 40, 55)
    graph(b.range("cpp_fused_2", 55, 60), "unknown", 91, 99)
    trace = b.range("cpp_fused_1", 92, 93).build()
    assert by_layer(trace) == {("Model", "forward"): 85, ("head", "forward"): 15, (UNATTRIBUTED, "other"): 1}
    assert the_remark(trace)[0].startswith("provenance: 1 of 6 compiled kernels mapped (29.4% of their time)")


def test_a_graph_of_another_module_is_left_alone():
    """GIVEN a graph that was compiled inside a layer, and paths below that WHEN attributed THEN it stays the root's"""
    b = TraceBuilder(metadata=metadata(f1=(call("cpp_fused_0", "head"), call("cpp_fused_1", "attn.q"))))
    b.module("Model", 0, 100)
    graph(b, "f1", 0, 90).range("cpp_fused_0", 10, 20).range("cpp_fused_1", 30, 40)
    assert by_layer(b.build()) == {("Model", "forward"): 100}


def test_frames_and_perfkits_ranges_between_a_graph_and_its_kernels_are_looked_through():
    """GIVEN a mark, a Python frame and a call into the driver below a graph WHEN attributed THEN the operations in
    them are its kernels, what they run themselves is theirs, and they are none"""
    b = TraceBuilder(metadata=metadata(f1=(call("extern_kernels.mm", "head"), call("cpp_fused_0", "embedding"))))
    b.module("Model", 0, 100)
    graph(b, "f1", 0, 90).range("perfkit.grad::x", 5, 30).range("aten::mm", 10, 20).range("aten::inner", 12, 15)
    b.range("frame", 40, 60, HostKind.PYTHON).range("cpp_fused_0", 45, 55).range("call", 70, 80, HostKind.RUNTIME)
    found = attribute(b.range("aten::mm", 95, 99).build())
    kernels = {found.host.name_of(row) for row in found.compiled.kernel if row != NONE}
    assert kernels == {"aten::mm", "cpp_fused_0"}
    assert (found.compiled.kernel != NONE).sum() == 3
    assert by_layer(b.build()) == {("head", "forward"): 10, ("embedding", "forward"): 10, ("Model", "forward"): 80}


def test_a_graph_outside_every_module_is_left_alone():
    """GIVEN a compiled graph without a scope WHEN attributed THEN its kernels stay unattributed"""
    b = TraceBuilder(metadata=metadata(f1=FORWARD)).step(0, 0, 100).module("Model", 0, 10)
    graph(b, "f1", 20, 80).range("aten::sort", 30, 40)
    found = attribute(b.build())
    assert (found.compiled.path == NONE).all()
    assert found.ranges.phase[found.compiled.kernel != NONE].tolist() == [Phase.OTHER]


@pytest.mark.parametrize(
    ("said", "remark"),
    [
        ({"problem": "PyTorch 9.9 has no x"}, "provenance: not available: PyTorch 9.9 has no x"),
        ({"graphs": {"f1": 7}}, "provenance: not available: its part of the metadata cannot be read: "),
        ("nonsense", "provenance: not available: its part of the metadata cannot be read: "),
        ({}, "provenance: not available: no kernel of a compiled graph could be mapped"),
    ],
)
def test_no_provenance_is_said(said, remark):
    """GIVEN metadata without usable provenance WHEN reported THEN one line says so and nothing else changes"""
    trace = whole_model(perfkit={"modules": MODULES, "provenance": said}).build()
    (line,) = the_remark(trace)
    assert line.startswith(remark)
    assert by_layer(trace) == by_layer(whole_model(perfkit={"modules": MODULES}).build())


@pytest.mark.parametrize("tree", [None, {}, [1], "Model"])
def test_a_tree_that_is_none(tree):
    """GIVEN provenance without a usable module tree WHEN attributed THEN nothing is mapped"""
    said = metadata(f1=FORWARD)
    said["perfkit"]["modules"] = tree
    assert (attribute(whole_model(**said).build()).compiled.path == NONE).all()


def test_an_empty_trace():
    """GIVEN no event at all WHEN attributed THEN that is no error"""
    trace = TraceBuilder(metadata=metadata(f1=FORWARD)).build()
    assert the_remark(trace) == ["provenance: not available: no kernel of a compiled graph could be mapped"]


@pytest.mark.parametrize(
    ("modules", "ancestor"),
    [
        (["layers.0.attn"], "layers.0.attn"),
        (["layers.0.attn", "layers.0"], "layers.0"),
        (["layers.1", "layers.10"], "layers"),
        (["layers.0.attn.q", "layers.0.attn.k", "layers.0.mlp"], "layers.0"),
        (["", "layers.0"], ""),
        (["embedding", "head"], ""),
        ([""], ""),
    ],
)
def test_common_ancestor(modules, ancestor):
    assert common_ancestor(modules) == ancestor


def test_matching_is_by_name_and_turn():
    """GIVEN calls and events in different order WHEN matched THEN the k-th of a name is the k-th of that name"""
    calls = [KernelCall("extern_kernels.mm", ("a",)), KernelCall("cpp_0", ("b",)), KernelCall("aten.mm.out", ("c",))]
    events = ["graph_12_cpp_0", "aten::mm", "aten::empty", "aten::mm"]
    assert matched(calls, events) == [calls[1], calls[0], None, calls[2]]
    assert matched(calls[:2], events) == [calls[1], None, None, None]


@pytest.mark.corpus
def test_a_real_triton_trace():
    """GIVEN a recorded block of Triton kernels and what Inductor would have said WHEN attributed THEN all are mapped"""
    recorded = load(corpus_file("kineto/mi300_compiled_triton.json.gz"))
    norm, mm, silu = ("triton_red_fused_add_mean_mul_pow_rsqrt_0", "extern_kernels.mm", "triton_poi_fused__unsafe_view")
    calls = [
        call(norm, "norm"), call(mm, "q"), call(mm, "k"), call(mm, "v"),
        call("torch.ops.aten._scaled_dot_product_flash_attention.default", "attn"), call(mm, "o"),
        call("triton_red_fused__unsafe_view_add_mean_mul_pow_rsqrt_1", "", "mlp_norm"), call(mm, "gate"),
        call(mm, "up"), call(f"{silu}_mul_silu_2", "mlp"), call(mm, "down"), call(f"{silu}_add_3", ""),
    ]  # fmt: skip
    trace = _inside_a_module(recorded, "Block", calls)
    found = attribute(trace)
    modules = found.path_names(found.events.path, found.events.phase)
    expected = ["norm", "q", "k", "v", "attn", "o", "Block", "gate", "up", "mlp", "down", "Block"]
    assert list(modules[np.argsort(trace.device.start)]) == expected
    assert set(found.events.how) == {How.PROVENANCE}
    assert the_remark(trace)[0].startswith("provenance: 12 of 12 compiled kernels mapped (100.0%")


def _inside_a_module(trace: Trace, name: str, calls) -> Trace:
    """A trace with a module's range round everything, and provenance of its only graph."""
    key = next(text.split()[3] for text in trace.names if "CompiledFxGraph" in text)
    tree = {name: "Block"} | {module: "Module" for one in calls for module in one["modules"] if module}
    said = {"modules": tree, "provenance": {"graphs": {key: {"backward": False, "calls": calls}}}}
    host = trace.host
    row = dict.fromkeys((column.name for column in dataclasses.fields(host)), MISSING)
    row |= {"name": len(trace.names), "kind": HostKind.OP, "thread": host.thread[0], "order": -1}
    row |= {"start": host.start.min() - 1, "end": host.end.max() + 1}
    columns = {column: np.append(getattr(host, column), np.array(value, getattr(host, column).dtype))
               for column, value in row.items()}  # fmt: skip
    return dataclasses.replace(
        trace,
        names=(*trace.names, f"perfkit::{name}"),
        host=dataclasses.replace(host, **columns),
        recording=recording({"perfkit": said}),
    )
