"""What a block keeps for its backward, as data: how many tensors of which size, by part.

perfkit's own block is one value, and another implementation's block another, so that measurements of that one can stand
beside the formula. Letters are those of `terms.Sizes`: capitals in fp32, lower case in the precision of the matmuls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from perfkit.schema.memory.estimate import ATTENTION, LOGITS, MIXED, MLP, NORMS, PROJECTIONS, RESIDUAL, ROPE

Counts = Mapping[str, Mapping[str, int]]
"""Part -> size (a field of `terms.Sizes`) -> how many tensors of it."""


@dataclass(frozen=True, slots=True)
class BlockForm:
    """What a block, and what comes after the last one, keep for backward."""

    name: str
    block: Counts
    head: Counts
    """What the last norm and the head keep, and the logits; without a loss."""


@cache
def own(attention: str, *, autocast: bool, wide_softmax: bool) -> BlockForm:
    """perfkit's block (`workload.model`), line by line. `attention`: eager, sdpa or math.

    A norm keeps its input (the residual stream), the normalised input, the scale, and, as the projections' input,
    its output. Autocast keeps no fp32 output but one 16-bit copy for each of the 3 + 2 matmuls that read it, and 16-bit
    cosines and sines, for q and for k (`half_angles`). The math backend keeps q, k (scaled), v and the softmax in fp32.
    """
    attending = {
        "sdpa": {"u": 1, "r": 1},  # output and logsumexp
        "math": {"U": 3, "A": 1},
        "eager": {"u": 1, "a": 1, "A": int(wide_softmax)},  # v and the softmax; the scores are not kept
    }[attention]
    block = {
        RESIDUAL: {"U": 2},
        NORMS: {"U": 2 if autocast else 4, "n": 2},
        PROJECTIONS: {"u": 3 * autocast + (attention == "sdpa")},  # sdpa: v as it was projected; others copy it
        ROPE: {"u": 0 if attention == "math" else 2, "half_angles": 4 * autocast},
        ATTENTION: attending,
        MIXED: {"u": 1},
        MLP: {"f": 4, "u": 2 * autocast},  # gate, its silu, up, their product
    }
    head = {RESIDUAL: {"U": 1}, NORMS: {"U": 1 if autocast else 2, "n": 1}, LOGITS: {"v": 1, "u": int(autocast)}}
    return BlockForm("perfkit", block, head)


PLAIN_EAGER = BlockForm(
    "plain eager",
    {
        RESIDUAL: {"U": 2},
        NORMS: {"U": 4, "n": 2},
        ROPE: {"U": 2},
        ATTENTION: {"U": 1, "A": 2, "hidden": 1, "r": 3},
        MIXED: {"U": 1},
        MLP: {"F": 5},
    },
    {RESIDUAL: {"U": 1}, NORMS: {"U": 2, "n": 1}, LOGITS: {"V": 1}},
)
"""The block of the course CS336 (2025, `model.py`, fp32): 10U + 5F + 2A + a mask + 3r + 2n.

Its softmax is written out (subtract the maximum, exponentiate, divide): the exponentials and the weights are both kept,
with a mask a layer and, a row, the sum and the place of the maximum (int64, two numbers of fp32). Its SiLU is x times
sigmoid(x): one tensor more in the MLP.
"""
