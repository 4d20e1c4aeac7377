"""Shapes that tensor cores and multiprocessors waste."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perfkit.analysis.attribution.intervals import Bools, Ints, at
from perfkit.analysis.findings.performance.case import Case
from perfkit.analysis.findings.performance.evidence import kernel_rows
from perfkit.analysis.findings.performance.kernels.precision import fp32_rows
from perfkit.analysis.findings.performance.units import base
from perfkit.analysis.kernels import kinds
from perfkit.analysis.kernels.categories import of_kernel
from perfkit.schema import units
from perfkit.schema.finding import Finding, Rule
from perfkit.trace.columns import MISSING
from perfkit.trace.detail_columns import Operands

_LEAST = 0.02
"""Share of the step at stake from which the findings are made."""
_MATMULS = ("mm", "addmm", "bmm", "baddbmm")
_STEP_OF = {
    "c10::Half": 8,
    "c10::BFloat16": 8,
    "float": 4,
    "c10::Float8_e4m3fn": 16,
    "c10::Float8_e5m2": 16,
    "signed char": 16,
}
"""Elements in 16 bytes, which tensor cores load at once: NVIDIA, "Matrix Multiplication Background", requirements."""


def multiplies(case: Case) -> bool:
    """Whether matmuls take enough of a device's time to be worth a look at their shapes."""
    return case.on_device and case.is_worth(case.time(matmul_rows(case)), 2 * _LEAST)


def matmul_rows(case: Case) -> Bools:
    """Rows of the account whose kernels are matmuls, by their own names."""
    flags = [of_kernel(name) in (kinds.MATMUL, kinds.ATTENTION) for name in case.trace.names]
    return np.array(flags, dtype=bool)[case.account.name]


ODD_SHAPES = Rule(
    "odd-shapes",
    "performance",
    "matmuls with a side that is no multiple of what tensor cores load at once (8 for 16 bits, 4 for TF32, 16 for 8)",
)


def odd_shapes(case: Case) -> Finding | None:
    """Matmuls on a device with an odd side, by the shapes that the file recorded.

    At stake: half of their time; NVIDIA's guide shows matmuls of odd sides at about half the speed of their neighbours.
    """
    if not multiplies(case) or case.operands is None:
        return None
    host, operands = case.host, case.operands
    rows = np.flatnonzero(host.matching(lambda name: base(name) in _MATMULS))
    odd, sides, multiples = _odd(operands, host.forest.order[rows])
    is_odd = np.zeros(len(host.name), dtype=bool)
    is_odd[rows[odd]] = True
    counted = at(is_odd, case.account.place, absent=False) & ~fp32_rows(case)  # those use no tensor core
    time = case.time(counted)
    if not case.is_worth(time / 2, _LEAST):
        return None
    text = (
        f"matmuls with a side that is no multiple of {' or '.join(map(str, multiples))}"
        f" ({', '.join(map(str, sides))}) take"
        f" {case.each(time)}: tensor cores load 16 bytes at once"
    )
    advice = (
        "sizes that are multiples of it, better of 64: a padded vocabulary, width or batch (perfkit run: --vocab-size)"
    )
    return Finding(ODD_SHAPES, text, case.cost(time / 2), kernel_rows(case, counted), advice, "guessed")


def _odd(operands: Operands, rows: Ints) -> tuple[Bools, list[int], list[int]]:
    """Which matmuls have an odd side, some of those sides, and what they are no multiples of."""
    odd_of: dict[tuple[int, int], list[int]] = {}
    steps: set[int] = set()
    shape, dtype = operands.shapes[rows], operands.dtypes[rows]
    for pair in {*zip(shape.tolist(), dtype.tolist(), strict=True)}:
        odd_of[pair], step = _odd_sides(operands, *pair)
        steps |= {step} if odd_of[pair] else set()
    flags = np.array([bool(odd_of[pair]) for pair in zip(shape.tolist(), dtype.tolist(), strict=True)], dtype=bool)
    return flags, sorted({side for sides in odd_of.values() for side in sides})[:4], sorted(steps)


def _odd_sides(operands: Operands, shape: int, dtype: int) -> tuple[list[int], int]:
    """The odd sides of a matmul, and the number that they are no multiples of."""
    if MISSING in (shape, dtype):
        return [], 0
    matrices = [sides for sides in operands.all_shapes[shape] if _is_matrix(sides)][-2:]
    steps = [_STEP_OF[text] for text in operands.all_dtypes[dtype] if text in _STEP_OF]
    if len(matrices) < 2 or not steps:
        return [], 0
    sides = {side for matrix in matrices for side in matrix[-2:] if isinstance(side, int)}
    return sorted(side for side in sides if side % steps[0] and side > steps[0]), steps[0]


def _is_matrix(sides: Sequence[object]) -> bool:
    return len(sides) >= 2 and all(isinstance(side, int) for side in sides)


FEW_TILES = Rule(
    "few-tiles",
    "performance",
    "matmuls whose blocks leave multiprocessors without work: fewer than there are, or a last wave that is part empty",
)
_REGISTERS, _THREADS = 65_536, 2_048
"""Of a multiprocessor, NVIDIA's since Kepler (CUDA C++ Programming Guide, technical specifications)."""
_SHARED = {7: 98_304, 8: 167_936, 9: 233_472, 10: 233_472}
"""Bytes of shared memory of a multiprocessor by the compute capability's first number; the largest of each."""


def few_tiles(case: Case) -> Finding | None:
    """Matmul kernels by the blocks that they were launched with.

    At stake: the part of each kernel's time that its idle multiprocessors stand for, 1 - blocks / (waves x slots).
    Slots are multiprocessors x blocks that fit into one by registers, threads and shared memory.
    """
    device = next((one for one in case.trace.recording.devices if one.multiprocessors), None)
    if not multiplies(case) or device is None or device.compute_major is None or case.details is None:
        return None
    geometry, account = case.details.geometry, case.account
    row = account.row
    known = matmul_rows(case) & (geometry.grid[row] > 0).all(axis=1) & (geometry.block[row] > 0).all(axis=1)
    known &= geometry.registers[row] > 0
    if not known.any():
        return None
    row = row[known]
    blocks = geometry.grid[row].astype(np.int64).prod(axis=1)
    threads = geometry.block[row].astype(np.int64).prod(axis=1)
    shared = np.maximum(geometry.shared_memory[row], 1)
    fit = np.minimum(_REGISTERS // (geometry.registers[row] * threads), _THREADS // threads)
    fit = np.maximum(np.minimum(fit, _SHARED.get(device.compute_major, 102_400) // shared), 1)
    slots = (device.multiprocessors or 1) * np.where(blocks <= (device.multiprocessors or 1), 1, fit)
    wasted = np.zeros(len(account))
    wasted[known] = 1 - blocks / (-(-blocks // slots) * slots)
    lost = float((case.times(known) * wasted).sum())
    rows = wasted > 0.25
    if not case.is_worth(lost, _LEAST) or not rows.any():
        return None
    text = (
        f"matmuls leave part of the {device.multiprocessors} multiprocessors without a tile:"
        f" {case.each(lost)} by the blocks that they launched"
        f" ({units.percent(float(np.average(wasted[known])))} of the slots on average)"
    )
    advice = "a larger batch or several small matmuls in one (one projection for q, k and v; bmm; grouped_mm)"
    return Finding(FEW_TILES, text, case.cost(lost), kernel_rows(case, rows), advice, "guessed")
