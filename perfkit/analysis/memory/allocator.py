"""What PyTorch's caching allocator makes of requests, and what comes on top of tensors on a GPU.

The rules are those of `c10/cuda/CUDACachingAllocator.cpp` and its defaults in `c10/core/AllocatorConfig.h`. A request
is rounded up to 512 B. Up to 1 MiB it comes out of a segment of 2 MiB; below 10 MiB out of one of 20 MiB; else out of
one of its own, rounded up to 2 MiB. The smallest free block that is large enough is used before a new segment is made.
What is left of a block becomes a free block of its own, unless it is too little: less than 512 B in the small pool, at
most 1 MiB in the large one. Then the request takes the whole block: most of what rounding costs.
"""

from __future__ import annotations

import bisect
import re
from collections import Counter

from perfkit.schema.memory.estimate import Beside, Timeline

MIB = 2**20
_GRAIN = 512
_SMALL = MIB
"""Largest request of the small pool, and the largest rest that a block of the large pool keeps."""
_SMALL_SEGMENT = 2 * MIB
_LARGE_SEGMENT = 20 * MIB
_OWN_SEGMENT = 10 * MIB
"""From this size on a request has a segment of its own."""
_SEGMENT_GRAIN = 2 * MIB

_WORKSPACE = 2 * 4 * MIB + 8 * 16 * 1024
"""`:4096:2:16:8`, PyTorch's default for cuBLAS: 8.125 MiB (`parseChosenWorkspaceSize`, ATen/cuda/CublasHandlePool.cpp;
cuBLASLt's workspace is a part of it: `getCUDABlasLtWorkspaceSize`)."""
_WIDE_WORKSPACE = 32 * MIB
_WIDE_MAJORS = (9, 10, 12)
"""Of Hopper and Blackwell (the same function)."""

CUDA_CONTEXT = 2**29
"""Assumed memory of a process on a GPU besides what PyTorch allocates: the CUDA context and libraries. Not measured."""


def rounded(size: int) -> int:
    """A request in bytes, rounded up to whole grains of 512 B."""
    return max(_GRAIN, _up(size, _GRAIN))


def segment_of(size: int) -> int:
    """Bytes of the segment that is made for a request for which no free block is large enough."""
    request = rounded(size)
    if request <= _SMALL:
        return _SMALL_SEGMENT
    return _LARGE_SEGMENT if request < _OWN_SEGMENT else _up(request, _SEGMENT_GRAIN)


def block_of(size: int) -> int:
    """Bytes that a tensor takes among many of its size in fresh segments, on average.

    The last one of a segment takes the rest where that is at most 1 MiB.
    """
    if size == 0:
        return 0
    count, rest = divmod(segment_of(size), rounded(size))
    whole = rounded(size) > _SMALL and rest <= _SMALL
    return rounded(size) + (rest // count if whole else 0)


def workspace(capability: tuple[int, int] | None = None, setting: str | None = None) -> int:
    """Bytes of one cuBLAS workspace on a GPU of this compute capability, or as CUBLAS_WORKSPACE_CONFIG says.

    Where the capability is not known, that of a GPU older than Hopper. Each thread that multiplies matrices has one:
    the one that runs forward, and autograd's, which runs backward.
    """
    pairs = re.findall(r":(\d+):(\d+)", setting or "")
    if pairs:
        return sum(int(kib) * 1024 * int(count) for kib, count in pairs)
    return _WIDE_WORKSPACE if capability and capability[0] in _WIDE_MAJORS else _WORKSPACE


def workspaces(has_backward: bool, each: int | None = None) -> int:
    """Bytes of all of them in a step: one, and a second where there is a backward pass."""
    return (2 if has_backward else 1) * (workspace() if each is None else each)


def _up(size: int, grain: int) -> int:
    return -(-size // grain) * grain


class CachingAllocator:
    """One stream's caching allocator, as it would answer a sequence of requests. No limit, no expandable segments."""

    def __init__(self) -> None:
        self.reserved = 0
        """Bytes of all segments; they are never given back."""
        self._size: dict[int, int] = {}
        """Address of a block -> its bytes."""
        self._beside: dict[int, list[int | None]] = {}
        """Address of a block -> those of the blocks before and after it in its segment."""
        self._free: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
        """Free blocks of the small pool and of the large one: (bytes, address), sorted."""
        self._unused: dict[int, bool] = {}
        """Address of a free block -> whether it is of the small pool."""

    def allocate(self, size: int) -> tuple[int, int]:
        """Address and bytes of the block for a request of so many bytes."""
        request = rounded(size)
        small = request <= _SMALL
        address = self._taken(request, small)
        rest = self._size[address] - request
        if rest >= _GRAIN if small else rest > _SMALL:
            self._split(address, request, small)
        return address, self._size[address]

    def free(self, address: int, size: int) -> None:
        """Take back a block that was given for a request of this many bytes, and join it with free ones beside it."""
        small = rounded(size) <= _SMALL
        for side in (1, 0):
            other = self._beside[address][side]
            if other is not None and other in self._unused:
                self._leave(other)
                address = self._joined(address, other) if side else self._joined(other, address)
        bisect.insort(self._free[small], (self._size[address], address))
        self._unused[address] = small

    def _taken(self, request: int, small: bool) -> int:
        """The smallest free block that is large enough, or a new segment."""
        found = bisect.bisect_left(self._free[small], (request, -1))
        if found < len(self._free[small]):
            address = self._free[small][found][1]
            self._leave(address)
            return address
        address, size = self.reserved, segment_of(request)
        self.reserved += size
        self._size[address], self._beside[address] = size, [None, None]
        return address

    def _split(self, address: int, size: int, small: bool) -> None:
        rest, after = address + size, self._beside[address][1]
        self._size[rest], self._size[address] = self._size[address] - size, size
        self._beside[rest] = [address, after]
        self._beside[address][1] = rest
        if after is not None:
            self._beside[after][0] = rest
        bisect.insort(self._free[small], (self._size[rest], rest))
        self._unused[rest] = small

    def _joined(self, first: int, second: int) -> int:
        """Two neighbours as one block."""
        self._size[first] += self._size.pop(second)
        after = self._beside.pop(second)[1]
        self._beside[first][1] = after
        if after is not None:
            self._beside[after][0] = first
        return first

    def _leave(self, address: int) -> None:
        """Take a block out of the free ones."""
        free = self._free[self._unused.pop(address)]
        del free[bisect.bisect_left(free, (self._size[address], address))]


def beside(timeline: Timeline, workspaces: int) -> Beside:
    """What the caching allocator adds to the allocations of a step, by answering them one by one.

    cuBLAS's workspaces (`workspaces` bytes together) are there when the step begins, as in a second step.
    """
    allocator = CachingAllocator()
    blocks: dict[int, tuple[int, int]] = {}
    asked: dict[int, int] = {}
    rounding: Counter[str] = Counter()
    allocated = 0
    for place, (storage, change) in enumerate(timeline.changes):
        if place == timeline.step:
            allocator.allocate(workspaces)
        if change > 0:
            blocks[storage], asked[storage] = allocator.allocate(change), change
        elif change < 0:
            allocator.free(blocks.pop(storage)[0], -change)
        if place == timeline.peak:
            for held in blocks.keys() & timeline.parts.keys():  # a tensor without elements has no block
                rounding[timeline.parts[held]] += blocks[held][1] - asked[held]
            allocated = sum(size for _, size in blocks.values()) + workspaces
    return Beside(
        rounding=dict(rounding), workspaces=workspaces, unused=allocator.reserved - allocated, context=CUDA_CONTEXT
    )
