"""The caching allocator's rules: by hand, and on real snapshots of A100s."""

from __future__ import annotations

import pytest

from perfkit.analysis.memory import allocator
from perfkit.analysis.memory import model as memory_model
from perfkit.analysis.memory.allocator import MIB, CachingAllocator, block_of
from perfkit.analysis.memory.forms import PLAIN_EAGER
from perfkit.schema.config import RunConfig
from perfkit.schema.memory import estimate as memory
from perfkit.schema.memory.estimate import Timeline

GIB = 2**30


def blocks(*sizes: int) -> list[int]:
    """The blocks for these requests, one after the other."""
    made = CachingAllocator()
    return [made.allocate(size)[1] for size in sizes]


def test_the_rest_of_a_segment_goes_to_its_last_block_where_it_is_at_most_1_mib():
    """GIVEN the shapes of xl and of snapshots WHEN blocks are made THEN they are what the rules say, by hand"""
    assert blocks(0, 1, 512, 513, MIB) == [512, 512, 512, 1024, MIB]
    square = 4 * 1600 * 1600  # 9.765625 MiB: two in 20 MiB, and 0.46875 MiB are left
    assert blocks(square, square, square) == [square, 20 * MIB - square, square]
    wide, table = 4 * 1600 * 6400, 4 * 10_000 * 1024  # 39.0625 MiB each
    assert blocks(wide, table) == [40 * MIB, 40 * MIB]  # the table: so it is in medium's snapshots
    assert blocks(12 * MIB + MIB // 2) == [12 * MIB + MIB // 2]  # 1.5 MiB are left: a block of their own
    assert blocks(25 * MIB) == [26 * MIB]  # exactly 1 MiB is left


@pytest.mark.parametrize("size", [0, 100, MIB, 4 * 1600 * 1600, 3 * MIB, 4 * 1600 * 6400, 12 * MIB + MIB // 2])
def test_the_mean_block_is_that_of_many(size):
    assert block_of(size) == (pytest.approx(sum(blocks(*[size] * 120)) / 120, abs=1) if size else 0)


def test_freed_neighbours_become_one_block_and_the_smallest_that_is_large_enough_is_used():
    # GIVEN three blocks of a segment of 20 MiB, and a segment of 12 MiB
    made = CachingAllocator()
    first, second, third = (made.allocate(4 * MIB)[0] for _ in range(3))
    other, _ = made.allocate(12 * MIB)
    assert made.reserved == 32 * MIB

    # WHEN the first two are freed, then the other
    made.free(second, 4 * MIB)
    made.free(first, 4 * MIB)
    made.free(other, 12 * MIB)

    # THEN 8 MiB come from the two, 12 from the other, and 9 need a segment: what is left of the first has 8
    assert made.allocate(8 * MIB) == (first, 8 * MIB)
    assert made.allocate(12 * MIB) == (other, 12 * MIB)
    assert made.reserved == 32 * MIB
    made.allocate(9 * MIB)
    assert made.reserved == 52 * MIB
    made.free(third, 4 * MIB)


@pytest.mark.parametrize(
    ("capability", "setting", "size"),
    [
        (None, None, 8.125 * MIB),
        ((8, 0), "", 8.125 * MIB),  # medium's snapshots have a block of 8.125 MiB in forward, two with backward
        ((8, 9), "nonsense", 8.125 * MIB),
        ((9, 0), None, 32 * MIB),
        ((10, 0), None, 32 * MIB),
        ((12, 0), None, 32 * MIB),
        ((9, 0), ":4096:2:16:8", 8.125 * MIB),
        ((8, 0), ":16:8", MIB / 8),
    ],
)
def test_workspaces_of_cublas(capability, setting, size):
    assert allocator.workspace(capability, setting) == size
    assert allocator.workspaces(has_backward=True, each=7) == 14


def test_a_steps_allocations_are_answered_one_by_one():
    """GIVEN 39.0625 MiB kept, as much freed before the peak, and 1 MiB WHEN answered THEN each has its block"""
    wide = 4 * 1600 * 6400
    changes = ((0, wide), (1, wide), (1, -wide), (2, MIB), (2, -MIB))
    found = allocator.beside(Timeline(changes, 1, 3, {0: "mlp", 2: "rope"}), 8 * MIB)
    assert found.rounding == {"mlp": 40 * MIB - wide, "rope": 0}
    assert (found.workspaces, found.unused) == (8 * MIB, (40 + 12 + 1) * MIB)  # of 80 + 20 + 2 MiB


def viewed(context: int) -> float:
    """GiB after forward of xl as PyTorch's viewer adds up a snapshot that begins when the model exists.

    What lived before has the sizes of its blocks: weights and cuBLAS's workspace. What follows has what was asked for.
    """
    shape = {"model_size": "xl", "batch_size": 4, "context_length": context}
    found = memory_model.after_forward(RunConfig.of(**shape).resolved("cuda"), PLAIN_EAGER)
    assert found.beside is not None
    return (found.peak + found.beside.rounding[memory.PARAMETERS] + found.beside.workspaces) / GIB


@pytest.mark.parametrize(("context", "measured"), [(128, 12.649), (256, 18.842), (512, 34.747)])
def test_published_forward_passes_of_another_implementation(context, measured):
    """GIVEN what A100s showed (issue 14) WHEN predicted by that block's form THEN it is 0.02 to 0.04% low

    What remains is one tensor like the residual stream (3, 6 and 12 MiB), of whose life nothing is published: 0.05%
    holds it and the rounding of the figures (0.004%), and no tensor of a whole layer.
    """
    assert viewed(context) == pytest.approx(measured, rel=5e-4)
    assert viewed(context) < measured


def test_a_published_first_step_of_2_7b():
    """GIVEN 51.2 to 51.3 GiB at contexts of 128 to 512 WHEN weights, gradients and moments are in blocks THEN so"""
    config = RunConfig.of(model_size="2.7B", pass_type="train", optimizer="adamw-fused", context_length=128).resolved(
        "cuda"
    )
    found = memory_model.estimate(config)
    assert found.beside is not None
    kinds = (memory.PARAMETERS, memory.GRADIENTS, memory.OPTIMIZER)
    assert sum(map(found.part, kinds)) / GIB == pytest.approx(50.77, abs=0.01)  # 16 N
    taken = sum(found.part(kind) + found.beside.rounding[kind] for kind in kinds) + found.beside.workspaces
    assert 51.2 <= taken / GIB <= 51.3
