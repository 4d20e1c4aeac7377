"""torch.compile: compilation inside the recorded window, graphs that break, graphs that are compiled again."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from perfkit.analysis.attribution.intervals import NONE, Bools, nearest, strictly_above, union_length
from perfkit.analysis.findings.performance.case import Case
from perfkit.regex import Regex
from perfkit.schema.finding import Evidence, Finding, Rule

_COMPILING = Regex(
    r"\(dynamo_timed\)$|^(dynamo|entire_(frame|backward)_compile|compile_attempt_\d+|inductor_compile|async_compile\.wait"
    r"|backend_compile|fx_codegen_and_compile|code_gen|triton_bundle_\w+|TritonBundler\.\w+)$"
    r"|CachingAutotuner\.(benchmark|precompile|coordinate)|benchmark_all_configs|autotune_to_one_config|\bautotun(e|ing)"
    r"|torch/_dynamo/convert_frame\.py\(\d+\): (_compile|compile_inner)"
    r"|torch/_inductor/compile_fx\.py\(\d+\): compile_fx"
    r"|triton/compiler/compiler\.py\(\d+\): compile|cudnnFind\w+Algorithm|miopenFind\w+Algorithm"
    r"|^(cuda|hip|cu)(Module|Library)(Load\w*)$|^nvrtcCompileProgram|^hiprtcCompileProgram"
)
"""PyTorch's own ranges (torch._dynamo.utils.dynamo_timed writes `... (dynamo_timed)` and the name of its event), frames
of its compilers where stacks were recorded, autotuning, and calls that load or compile a module of device code."""
_REGION = Regex(r"Torch-Compiled Region: (\d+)/(\d+)")
_LEAST = 0.01
"""Share of the step from which compilation is a finding."""


def is_compiling(name: str) -> bool:
    """Whether a range of this name compiles, tunes, or loads what was compiled."""
    return _COMPILING.search(name) is not None


COMPILATION = Rule(
    "compilation", "performance", "compilation, autotuning or loading of device code inside the recorded steps"
)


def compilation(case: Case) -> Finding | None:
    """The outermost ranges that compile, tune or load.

    At stake: their time, which a warmed-up program does not have.
    """
    host = case.host
    flagged = case.ranges(is_compiling)
    rows = np.flatnonzero(_outermost(case, flagged))
    rows = rows[case.steps_at(host.start[rows]) != NONE]
    time = union_length(host.start[rows], host.end[rows])
    if time < _LEAST * case.step_ns * case.step_count or not len(rows):
        return None
    names = list(dict.fromkeys(host.name_of(int(row)) for row in rows[np.argsort(host.start[rows] - host.end[rows])]))
    steps = np.unique(case.steps_at(host.start[rows]))
    where = ", ".join(f"step {step}" for step in steps[:4].tolist()) if case.account.steps else ""
    text = (
        f"compilation and loading inside the recorded window take {case.each_of_host(time)}"
        f" ({', '.join(names[:3])}{'; ' + where if where else ''})"
    )
    advice = (
        "recording later, after a few calls with the same shapes, and a cache of compiled code that stays"
        " (perfkit run: --warmup-steps 5)"
    )
    return Finding(COMPILATION, text, case.host_cost(time), _steps(case, steps), advice, "measured", where)


GRAPH_BREAKS = Rule(
    "graph-breaks", "performance", "a compiled function runs as several graphs, with Python and guards between them"
)


def graph_breaks(case: Case) -> Finding | None:
    """Compiled regions inside a compiled region: what resumes after a break runs in the frame that broke.

    At stake: the self time on the host of these regions and of the look-ups between them.
    """
    host = case.host
    region = case.ranges(lambda name: _REGION.search(name) is not None)
    if not region.any():
        return None
    above = strictly_above(host.forest.parent, nearest(host.forest.parent, region))
    resumed = np.flatnonzero(region & (above != NONE))
    resumed = resumed[case.steps_at(host.start[resumed]) != NONE]
    if not len(resumed):
        return None
    glue = case.ranges(_is_glue)
    inside = nearest(host.forest.parent, region) != NONE
    rows = np.flatnonzero(glue & (inside | region))
    rows = rows[case.steps_at(host.start[rows]) != NONE]
    time = int(case.self_time[rows].sum())
    text = (
        f"compiled graphs break {case.times_a_step(len(resumed))}: between the pieces Python and"
        f" guards run, {case.each_of_host(time)}, and nothing is fused across them"
    )
    advice = 'TORCH_LOGS="graph_breaks", or torch.compile(fullgraph=True), which fails at the line that breaks'
    return Finding(GRAPH_BREAKS, text, case.host_cost(time), _steps(case, np.arange(1)), advice, "derived")


def _is_glue(name: str) -> bool:
    return name in ("TorchDynamo Cache Lookup", "Pregraph bytecode") or _REGION.search(name) is not None


RECOMPILES = Rule(
    "recompiles", "performance", "one function was compiled several times, each for other shapes or values"
)
_SEVERAL = 3
"""Versions of one function, from which it is compiled again and again: one static, one dynamic are usual."""


def recompiles(case: Case) -> Finding | None:
    """Compiled regions of one frame with several numbers of compilation (`0/0`, `0/1`, `0/2`).

    At stake: what the compilations in the window took, if they are in it.
    """
    host = case.host
    versions: dict[str, set[str]] = defaultdict(set)
    for index in case.present:
        if match := _REGION.search(host.names[index]):
            versions[match[1]].add(match[2])
    most = max(((len(numbers), frame) for frame, numbers in versions.items()), default=(0, ""))
    if most[0] < _SEVERAL:
        return None
    flagged = _outermost(case, case.ranges(is_compiling))
    rows = np.flatnonzero(flagged)
    rows = rows[case.steps_at(host.start[rows]) != NONE]
    time = union_length(host.start[rows], host.end[rows])
    text = f"compiled function {most[1]} ran in {most[0]} versions: it was compiled again for other shapes or values"
    text += f", {case.each_of_host(time)} in the window" if time else " before the window"
    advice = (
        'TORCH_LOGS="recompiles", which says what differed; torch.compile(dynamic=True), mark_dynamic, or inputs padded'
        " to few shapes"
    )
    return Finding(RECOMPILES, text, case.host_cost(time), (), advice, "derived")


def _outermost(case: Case, flagged: Bools) -> Bools:
    """Flagged rows that are in no other."""
    parent = case.host.forest.parent
    if not flagged.any():
        return flagged
    outermost: Bools = flagged & (strictly_above(parent, nearest(parent, flagged)) == NONE)
    return outermost


def _steps(case: Case, steps: np.ndarray) -> tuple[Evidence, ...]:
    return tuple(Evidence("steps", {"step": int(step)}) for step in steps[:3].tolist()) if case.account.steps else ()
