"""What is noted while Inductor compiles, on nodes and code written by hand; tests/truth compiles real ones."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import torch
from torch._inductor import config as inductor
from torch._inductor import debug, output_code

from perfkit.errors import UsageError
from perfkit.measure.observers.provenance import CompiledKernels, _note, kernel_calls, module_path
from perfkit.schema import provenance as stored
from perfkit.schema.config import RunConfig
from perfkit.schema.provenance import CompiledGraph, KernelCall, Provenance

CODE = """
        # [Provenance debug handles] cpp_fused_add_0:1
        cpp_fused_add_0(primals_1, buf0)
        # [Provenance debug handles] extern_kernels.mm:2
        extern_kernels.mm(buf0, primals_2, out=buf1)
        // [Provenance debug handles] torch.ops.aten.sort.stable:4
        // [Provenance debug handles] extern_kernels.mm:3
"""


def node(target, *modules, inputs=1, prefix="", **meta):
    """A node traced inside nested modules, each named from the outermost one on."""
    stack = {str(depth): (f"L['self'].{module}", object) for depth, module in enumerate(modules)}
    if modules:
        meta[f"{prefix}nn_module_stack"] = stack
    return SimpleNamespace(target=target, all_input_nodes=["input"] * inputs, meta=meta)


def modules_of(*nodes):
    """The modules of a kernel made of these nodes."""
    named = {str(number): one for number, one in enumerate(nodes)}
    (call,) = kernel_calls("# [Provenance debug handles] k:1", {"k:1": list(named)}, named)
    return call.modules


ADD, VIEW, FULL = torch.ops.aten.add.Tensor, torch.ops.aten.view.default, torch.ops.aten.full.default


@pytest.mark.parametrize(
    ("spelled", "path"),
    [
        ("L['self']", ""),
        ("L['self'].layers.0.attn", "layers.0.attn"),
        ("L['self'].layers[0].attn", "layers.0.attn"),
        ("L['self']._modules['layers']._modules['0']._modules['attn']", "layers.0.attn"),
        ("L['self']._modules['q-proj']", "q-proj"),
        ("L['self']._modules[\"layers\"][11]", "layers.11"),
        ("L['self']._orig_mod.head", "head"),
        ("L['model'].head", None),
        ("getattr(L['self'], 'head')", None),
        ("L['self'].f(x)", None),
    ],
)
def test_module_paths_as_dynamo_spells_them(spelled, path):
    assert module_path(spelled) == path


def test_calls_come_in_the_order_of_the_code():
    """GIVEN generated code WHEN read THEN its calls are in the order they stand there, each with its own nodes"""
    nodes = {name: node(ADD, name) for name in ("a", "b", "c")}
    nodes_of = {"cpp_fused_add_0:1": ["a", "b"], "extern_kernels.mm:2": ["b"], "extern_kernels.mm:3": ["c", "gone"]}
    assert kernel_calls(CODE, nodes_of, nodes) == (
        KernelCall("cpp_fused_add_0", ("a", "b")),
        KernelCall("extern_kernels.mm", ("b",)),
        KernelCall("torch.ops.aten.sort.stable", ()),
        KernelCall("extern_kernels.mm", ("c",)),
    )


def test_the_innermost_module_counts_in_both_directions():
    """GIVEN nodes of forward and of backward WHEN read THEN each is its innermost module's"""
    assert modules_of(node(ADD, "layers.0", "layers.0.mlp")) == ("layers.0.mlp",)
    assert modules_of(node(ADD, "layers.0", "layers.0.mlp", prefix="fwd_")) == ("layers.0.mlp",)
    assert modules_of(node(ADD, "b"), node(ADD, "a"), node(ADD, "b")) == ("a", "b")


def test_views_and_constants_have_no_vote():
    """GIVEN a kernel that reads another module's view and a shared constant WHEN read THEN it is its own module's"""
    unsafe = torch.ops.aten._unsafe_view.default
    assert modules_of(node(ADD, "a"), node(VIEW, "b"), node(unsafe, "c"), node(FULL, "d", inputs=0)) == ("a",)
    assert modules_of(node(VIEW, "b")) == ("b",)


def test_what_the_compiled_module_does_itself():
    """GIVEN nodes without a module WHEN read THEN traced ones are the compiled module's, made-up ones nobody's"""
    own = node(ADD, source_fn_stack=[("add", ADD)])
    backward = node(ADD, fwd_source_fn_stack=[("add", ADD)])
    gradient_sum = node(ADD, is_gradient_acc=True)
    empty = node(ADD, nn_module_stack=None)
    assert modules_of(own) == modules_of(backward, gradient_sum) == ("",)
    assert modules_of(gradient_sum, node(ADD, "a"), empty) == ("a",)
    assert modules_of(gradient_sum) == ()


def test_everything_is_put_back():
    """GIVEN a run with the flag WHEN it is closed THEN the compiler is as it was"""
    before = output_code.CompiledFxGraph.post_compile
    compiled = CompiledKernels()
    assert output_code.CompiledFxGraph.post_compile is not before
    assert inductor.cpp.enable_kernel_profile
    assert torch.compiler.config.cache_key_tag.startswith("perfkit-")
    compiled.close()
    assert output_code.CompiledFxGraph.post_compile is before
    assert not inductor.cpp.enable_kernel_profile
    assert torch.compiler.config.cache_key_tag == ""
    assert inductor.trace.provenance_tracking_level == 0


@pytest.mark.parametrize(
    ("owner", "name", "told"),
    [
        (debug, "_inductor_triton_kernel_to_post_grad_node_info", "torch._inductor.debug._inductor_triton_kernel"),
        (output_code, "CompiledFxGraph", "torch._inductor.output_code.CompiledFxGraph.post_compile"),
    ],
)
def test_another_version_of_pytorch(monkeypatch, owner, name, told):
    """GIVEN a PyTorch without a private name WHEN collecting THEN nothing is touched and the reason is kept"""
    monkeypatch.delattr(owner, name)
    compiled = CompiledKernels()
    assert compiled.provenance.problem.startswith(f"PyTorch {torch.__version__} has no {told}")
    assert not inductor.cpp.enable_kernel_profile
    compiled.close()


class Compiled(output_code.CompiledFxGraph):
    """A compiled graph that was never compiled, and has nothing to do when it is."""

    def __init__(self, **columns):
        vars(self).update(compiled_fn_runner=None, **columns)

    def post_compile(self, *_):
        pass


@pytest.fixture
def compile_once():
    """Compiles graphs with one node `a` each, of the module `a` unless `meta` says otherwise; what is noted of them."""

    def go(nodes_of, *graphs, backward=False, **meta):
        compiled = CompiledKernels(Compiled, lambda: nodes_of)
        try:
            for graph in graphs:
                a = node(ADD, **meta) if meta else node(ADD, "a")
                a.name = "a"
                constants = SimpleNamespace(gm=SimpleNamespace(graph=SimpleNamespace(nodes=[a])))
                tag = torch.compiler.config.cache_key_tag
                graph.post_compile([], constants, {"is_backward": backward})
                assert torch.compiler.config.cache_key_tag != tag  # no other graph may be this one's hit
                nodes_of = {}
        finally:
            compiled.close()
        return compiled.provenance

    return go


def test_a_graph_is_kept_by_its_key(compile_once):
    """GIVEN a compiled backward graph WHEN noted THEN it can be written, read, and found by its key"""
    graph = Compiled(_fx_graph_cache_key="f1", source_code="# [Provenance debug handles] k:1")
    found = compile_once({"k:1": ["a"]}, graph, backward=True)
    assert found.graphs == {"f1": CompiledGraph(backward=True, calls=(KernelCall("k", ("a",)),))}
    assert stored.read(msgspec.json.decode(msgspec.json.encode(found))) == found


@pytest.mark.parametrize("stack", [5, ["L['self'].a"], {"1": 5}, {"1": (5, object)}])
def test_a_graph_of_another_shape(compile_once, stack):
    """GIVEN nodes that say where they come from in another way WHEN noted THEN compilation goes on and that is said"""
    graph = Compiled(_fx_graph_cache_key="f1", source_code="# [Provenance debug handles] k:1")
    found = compile_once({"k:1": ["a"]}, graph, nn_module_stack=stack)
    assert not found.graphs
    assert found.problem.startswith(f"PyTorch {torch.__version__} describes a graph in another way: ")


def test_one_key_with_two_meanings_means_nothing(compile_once):
    """GIVEN two graphs under one key that differ WHEN noted THEN neither is believed"""
    graphs = [Compiled(_fx_graph_cache_key="f1", source_code="# [Provenance debug handles] k:1") for _ in range(2)]
    assert compile_once({"k:1": ["a"]}, *graphs).graphs["f1"].calls == ()


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"_fx_graph_cache_key": None, "source_code": ""}, "a graph that is not cached has no key"),
        ({"_fx_graph_cache_key": "f1"}, "keeps neither code nor graph"),
    ],
)
def test_a_graph_that_cannot_be_noted(compile_once, columns, problem):
    found = compile_once({}, Compiled(**columns))
    assert problem in found.problem
    assert not found.graphs


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"compile": "off"}, "--compile model or --compile block"),
        ({"profiler": "none"}, "--profiler torch"),
        ({"annotate": "off"}, "--annotate off"),
        ({"warmup_steps": 0}, "--warmup-steps 1"),
    ],
)
def test_the_flag_is_refused_where_it_cannot_work(options, told):
    wanted: dict[str, Any] = {"compile": "model", "profiler": "torch", "experimental_provenance": True}
    assert RunConfig.of(**wanted).measurement.experimental_provenance
    with pytest.raises(UsageError, match=told):
        RunConfig.of(**wanted | options)


def test_the_settings_of_inductor_are_for_the_run_only():
    """Level 2 notes the nodes of each kernel, and no more; a profile of kernels makes those in C++ events."""
    before = inductor.trace.provenance_tracking_level, inductor.cpp.enable_kernel_profile
    compiled = CompiledKernels()
    assert (inductor.trace.provenance_tracking_level, inductor.cpp.enable_kernel_profile) == (2, True)
    compiled.close()
    assert (inductor.trace.provenance_tracking_level, inductor.cpp.enable_kernel_profile) == before


def test_the_same_graph_twice_is_still_known(compile_once):
    """GIVEN two graphs under one key that say the same THEN what they say stays"""
    graphs = [Compiled(_fx_graph_cache_key="f1", source_code="# [Provenance debug handles] k:1") for _ in range(2)]
    found = compile_once({}, *graphs)
    assert found.graphs == {"f1": CompiledGraph(backward=False, calls=(KernelCall("k", ()),))}


@pytest.mark.parametrize(("options", "backward"), [((), False), ((None,), False), (({},), False),
                                                   (({"is_backward": True},), True)])  # fmt: skip
def test_a_graph_without_options_is_a_forward_one(options, backward):
    found = Provenance()
    constants = SimpleNamespace(gm=SimpleNamespace(graph=SimpleNamespace(nodes=[])))
    _note(found, Compiled(_fx_graph_cache_key="f1", source_code=""), ([], constants, *options), {})
    assert found.graphs == {"f1": CompiledGraph(backward=backward, calls=())}


@pytest.mark.parametrize("args", [(), ([],), ([], None), ([], SimpleNamespace(gm=None))])
def test_a_graph_that_is_not_handed_over_is_said_to_be_missing(args):
    found = Provenance()
    _note(found, Compiled(_fx_graph_cache_key="f1", source_code=""), args, {})
    assert "keeps neither code nor graph where 2.13 does" in found.problem
    assert not found.graphs
