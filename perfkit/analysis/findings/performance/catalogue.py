"""Every performance rule, what evidence it needs, and their findings, dearest first."""

from __future__ import annotations

from collections.abc import Iterable

from perfkit.analysis.findings.performance import edits
from perfkit.analysis.findings.performance.case import Case
from perfkit.analysis.findings.performance.gains import with_gains
from perfkit.analysis.findings.performance.kernels import layers, lengths, precision, tensor_cores
from perfkit.analysis.findings.performance.look import Look, Need
from perfkit.analysis.findings.performance.operators import (
    attention,
    batch_norm,
    chains,
    copies,
    loops,
    optimizer,
    wasted,
)
from perfkit.analysis.findings.performance.program import (
    allocator,
    beside,
    clocks,
    collector,
    compiling,
    debugging,
    first_step,
    memory,
    parallel,
)
from perfkit.analysis.findings.performance.wall import between_operators, communication, idle, loader, transfers
from perfkit.schema.finding import OVER_CAPACITY, Finding, Rule

LOOKS: tuple[Look, ...] = (
    Look(attention.EAGER_ATTENTION, attention.eager_attention, edit=edits.without_scores),
    Look(attention.SDPA_MATH, attention.sdpa_math, ("operators",), edit=edits.without_math),
    Look(precision.UNUSED_TENSOR_CORES, precision.unused_tensor_cores, ("device",), edit=edits.on_tensor_cores),
    Look(
        tensor_cores.ODD_SHAPES,
        tensor_cores.odd_shapes,
        ("device", "shapes"),
        tensor_cores.multiplies,
        edits.faster_matmuls,
    ),
    Look(
        tensor_cores.FEW_TILES,
        tensor_cores.few_tiles,
        ("device", "shapes"),
        tensor_cores.multiplies,
        edits.faster_matmuls,
    ),
    Look(optimizer.UNFUSED_OPTIMIZER, optimizer.unfused_optimizer, edit=edits.fused_optimizer),
    Look(optimizer.ZEROED_GRADIENTS, optimizer.zeroed_gradients, ("operators",), edit=edits.without_zeroing),
    Look(chains.ELEMENTWISE_CHAINS, chains.elementwise_chains, ("operators",), edit=edits.fused_chains),
    Look(copies.REPEATED_CASTS, copies.repeated_casts, ("operators",), edit=edits.without_casts),
    Look(copies.LAYOUT_COPIES, copies.layout_copies, ("operators",), edit=edits.without_layouts),
    Look(copies.CONCATENATIONS, copies.concatenations, ("operators",), edit=edits.without_joining),
    Look(copies.INDEX_PUTS, copies.index_puts, ("operators",), edit=edits.without_index_puts),
    Look(copies.COPIES_BEFORE_DEVICE, copies.copies_before_device, ("device", "operators")),
    Look(loops.PYTHON_LOOP, loops.python_loop, ("operators",)),
    Look(wasted.DOUBLE_PRECISION, wasted.double_precision, ("operators", "shapes")),
    Look(wasted.ONE_HOT_MATMUL, wasted.one_hot_matmul, ("operators",)),
    Look(wasted.NO_KV_CACHE, wasted.no_kv_cache, ("operators", "shapes"), wasted.attends_without_backward),
    Look(lengths.TINY_KERNELS, lengths.tiny_kernels, ("device",), edit=edits.without_tiny),
    Look(lengths.HOT_SPOT, lengths.hot_spot, edit=edits.without_hot_spot),
    Look(layers.RECOMPUTATION, layers.recomputation, edit=edits.without_recomputation),
    Look(layers.UNEVEN_LAYERS, layers.uneven_layers),
    Look(first_step.SLOW_FIRST_STEP, first_step.slow_first_step, ("steps",)),
    Look(beside.WORK_BESIDE_TRAINING, beside.work_beside_training, ("steps", "operators")),
    Look(compiling.COMPILATION, compiling.compilation, edit=edits.without_compiling),
    Look(compiling.GRAPH_BREAKS, compiling.graph_breaks, ("operators",)),
    Look(compiling.RECOMPILES, compiling.recompiles, ("operators",)),
    Look(allocator.ALLOCATOR_CALLS, allocator.allocator_calls, ("device",)),
    Look(collector.GARBAGE_COLLECTION, collector.garbage_collection, ("steps",)),
    Look(debugging.LAUNCH_BLOCKING, debugging.launch_blocking, ("device",)),
    Look(debugging.ANOMALY_MODE, debugging.anomaly_mode, ("operators",)),
    Look(debugging.PYTHON_STACKS, debugging.python_stacks),
    Look(batch_norm.SYNC_BATCH_NORM, batch_norm.sync_batch_norm, ("operators",)),
    Look(
        batch_norm.BIAS_BEFORE_BATCH_NORM,
        batch_norm.bias_before_batch_norm,
        ("operators", "shapes"),
        batch_norm.has_both,
    ),
    Look(parallel.DATA_PARALLEL, parallel.data_parallel, ("operators",)),
    Look(parallel.BUCKET_COPIES, parallel.bucket_copies, ("operators",), edit=edits.without_bucket_copies),
    Look(idle.LAUNCH_BOUND, idle.launch_bound, ("device",), edit=idle.without_host, is_idle=True),
    Look(idle.HOST_SYNCHRONISATION, idle.host_synchronisation, ("device",), edit=idle.without_waits),
    Look(loader.DATA_LOADER, loader.data_loader, edit=loader.without_loader),
    Look(
        between_operators.PYTHON_BETWEEN_OPERATORS, between_operators.python_between_operators, ("operators", "steps")
    ),
    Look(transfers.BLOCKING_COPIES, transfers.blocking_copies, ("device",), edit=transfers.without_blocking),
    Look(
        communication.EXPOSED_COMMUNICATION,
        communication.exposed_communication,
        ("device",),
        edit=communication.hidden_communication,
    ),
    Look(communication.MISSED_OVERLAP, communication.missed_overlap, ("device",), edit=communication.overlapped),
    Look(communication.SMALL_MESSAGES, communication.small_messages, ("device",), edit=communication.joined_messages),
    Look(communication.UNBALANCED_RANKS, communication.unbalanced_ranks, ("device",)),
    Look(clocks.LOWER_CLOCKS, clocks.lower_clocks, ("device",), edit=clocks.at_nominal_clock),
    Look(OVER_CAPACITY, memory.over_capacity),
)
"""A new rule is one line here, and a file of its own."""

UNCHECKED = Rule(
    "unchecked",
    "performance",
    "rules that could not look, because the file lacks what they need, and what to record",
    read="last",
)
_SHOWN = 4
_RECORD: dict[Need, tuple[str, str]] = {
    "operators": ("operators", "torch.profiler (perfkit run: --profiler torch)"),
    "shapes": ("shapes", "profile(record_shapes=True)"),
    "steps": ("steps", "profiler.step() after each step"),
}
"""What is missing, and how to record it."""


def findings(case: Case, looks: Iterable[Look] = LOOKS) -> tuple[Finding, ...]:
    """What the rules find, most at stake first; findings without a cost follow, and what could not be checked is last.

    None for a single phase, since rules are about the step.
    """
    if not len(case.account) or case.account.only is not None:
        return ()
    looks = tuple(looks)
    missing = {look.rule.id: _missing(case, look) for look in looks}
    found = list(filter(None, (look.find(case) for look in looks if not missing[look.rule.id])))
    ranked = with_gains(case, found, {look.rule.id: look for look in looks})
    unchecked = _unchecked([look for look in looks if missing[look.rule.id] and look.matters(case)], missing)
    return (*ranked, unchecked) if unchecked else tuple(ranked)


def _missing(case: Case, look: Look) -> tuple[Need, ...]:
    """What a rule needs and the recording lacks."""
    there = {
        "operators": len(case.units) > 0,
        "shapes": case.has_shapes,
        "steps": bool(case.account.steps),
        "device": case.on_device,
    }
    return tuple(need for need in look.needs if not there[need])


def _unchecked(looks: Iterable[Look], missing: dict[str, tuple[Need, ...]]) -> Finding | None:
    """One finding about all rules that could not look; rules about devices are no loss where there is none."""
    lost: dict[Need, list[str]] = {}
    for look in looks:
        needs = missing[look.rule.id]
        if needs and "device" not in needs:
            lost.setdefault(needs[0], []).append(look.rule.title)
    if not lost:
        return None
    said = "; ".join(f"without {_RECORD[need][0]}: {_some(titles)}" for need, titles in lost.items())
    advice = " and ".join(_RECORD[need][1] for need in lost)
    return Finding(UNCHECKED, f"not checked, {said}", advice=advice)


def _some(titles: list[str]) -> str:
    more = f" and {len(titles) - _SHOWN} more" if len(titles) > _SHOWN else ""
    return ", ".join(titles[:_SHOWN]) + more
