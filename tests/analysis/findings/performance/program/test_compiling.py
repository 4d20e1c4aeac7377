"""Compilation in the window, graphs that break, and graphs that are compiled again."""

from __future__ import annotations

import pytest

from perfkit.analysis.findings.performance.program.compiling import compilation, graph_breaks, is_compiling, recompiles
from perfkit.schema.finding import Cost
from perfkit.trace.columns import HostKind
from tests.analysis.findings.performance.cases import call, found
from tests.builders import TraceBuilder

REGION = "Torch-Compiled Region: "


def test_compilation_inside_a_step():
    """GIVEN nested ranges of the compiler over 300 of 1,000 ns, twice THEN the outer one counts, once a step"""
    b = TraceBuilder().step(0, 0, 1000).step(1, 1000, 2000)
    for start in (100, 1100):
        b.range("_compile.compile_inner (dynamo_timed)", start, start + 300).range(
            "inductor_compile", start + 50, start + 200
        )
    b.range("aten::mm", 500, 600)
    finding = found(compilation, b)
    assert finding.cost == Cost(300, 0.3)
    assert finding.where == "step 0, step 1"
    assert "_compile.compile_inner" in finding.what


def test_compilation_outside_the_steps_is_warm_up():
    b = TraceBuilder().range("inductor_compile", 0, 900).step(0, 1000, 2000).range("aten::mm", 1100, 1900)
    assert found(compilation, b) is None


def test_loading_of_device_code():
    b = TraceBuilder().step(0, 0, 1000).range("aten::mm", 0, 500).launched("k", 450, 500, 600)
    assert found(compilation, call(b, "cuLibraryLoadData", 100, 300)).cost.ns == 200


@pytest.mark.parametrize(
    "name",
    [
        "TorchDynamo Cache Lookup", "Torch-Compiled Region: 0/0", "CompiledFunction", "aten::mm", "Pregraph bytecode",
        "## Call CompiledFxGraph fabc ##", "AOTDispatcher Runtime Wrapper Prologue", "cudaModuleGetFunction",
    ],
)  # fmt: skip
def test_running_what_was_compiled_is_no_compilation(name):
    assert not is_compiling(name)


@pytest.mark.parametrize(
    "name",
    [
        "entire_frame_compile", "backend_compile", "OutputGraph.call_user_compiler (dynamo_timed)",
        "async_compile.wait", "compile_attempt_0", "CachingAutotuner.benchmark_all_configs", "cuModuleLoadData",
        "cudaLibraryLoadData",
        "torch/_dynamo/convert_frame.py(1650): _compile", "nvrtcCompileProgram",
    ],
)  # fmt: skip
def test_names_of_compilers(name):
    assert is_compiling(name)


def broken(pieces) -> TraceBuilder:
    """Compiled regions, each inside the one before, with a look-up of 5 ns before each."""
    b, start, end = TraceBuilder().step(0, 0, 1000), 100, 500
    for number in range(pieces):
        b.annotation("TorchDynamo Cache Lookup", start, start + 5).range(f"{REGION}{number}/0", start + 5, end)
        b.range("CompiledFunction", start + 20, start + 40)
        start, end = start + 50, end - 10
    return b


def test_a_graph_that_breaks():
    finding = found(graph_breaks, broken(3))
    assert "break 2 times a step" in finding.what
    assert "fullgraph=True" in finding.advice


def test_a_whole_graph_and_blocks_compiled_one_by_one():
    assert found(graph_breaks, broken(1)) is None
    b = TraceBuilder().step(0, 0, 1000)
    for number in range(4):
        b.range(f"{REGION}0/0", 100 * number, 100 * number + 80)
    assert found(graph_breaks, b) is None


def test_one_function_in_many_versions():
    b = TraceBuilder().step(0, 0, 1000)
    for number in range(3):
        b.range(f"{REGION}0/{number}", 100 * number, 100 * number + 80)
    finding = found(recompiles, b)
    assert "function 0 ran in 3 versions" in finding.what
    assert finding.cost.ns == 0
    b.range("entire_frame_compile", 500, 700, HostKind.OP)
    assert found(recompiles, b).cost.ns == 200


def test_a_static_and_a_dynamic_version_are_usual():
    b = TraceBuilder().step(0, 0, 1000)
    for number in range(4):
        b.range(f"{REGION}{number}/0", 200 * number, 200 * number + 80)
        b.range(f"{REGION}{number}/1", 200 * number + 100, 200 * number + 180)
    assert found(recompiles, b) is None
