"""One training step of a model of two blocks, by hand: as an allocator's events, with stacks."""

from __future__ import annotations

from typing import Any

from tests.analysis.memory.recorded.snapshots import ADAM, CALL, ENGINE, MAIN, block, event, pickled

MODEL = ("model.py(20): forward", CALL, MAIN)
"""The frames round the loop over blocks, innermost first."""
PARAMETERS = (1000, 100, 100, 1000)
"""Bytes of each: the embedding, a matrix of each block, the head."""


def made(address: int, size: int, *stack: str, **more: Any) -> dict[str, Any]:
    return event("alloc", address, size, *stack, **more)


def gone(address: int, size: int, *stack: str, **more: Any) -> list[dict[str, Any]]:
    names = ("free_requested", "free_completed")
    return [event(name, address, size, *stack, **more) for name in names]


def in_block(line: int, *inner: str) -> tuple[str, ...]:
    return (*inner, f"block.py({line}): forward", CALL, "model.py(10): forward", CALL, MAIN)


def forward() -> list[dict[str, Any]]:
    """Scores lie at 10 and 20, the blocks' outputs at 11 and 21, what they drop at 12 and 22, the norm's at 25."""
    events = [made(5, 40, "embed.py(1): forward", CALL, *MODEL)]
    for base in (10, 20):
        events += [
            made(base, 64, *in_block(3, "at::_ops::softmax::call(at::Tensor)", "attn.py(7): softmax")),
            made(base + 2, 16, *in_block(4)), made(base + 1, 40, *in_block(5)), *gone(base + 2, 16, *in_block(6)),
        ]  # fmt: skip
    events.append(made(25, 12, "norm.py(1): forward", CALL, *MODEL))
    return [*events, made(30, 500, *MODEL), made(31, 8, "train.py(3): loss", MAIN)]


def backward() -> list[dict[str, Any]]:
    """Gradients lie at 40 (the head's), 41 and 42 (those of the blocks, the last first), and 43 (the embedding's)."""
    node = "torch::autograd::generated::MmBackward0::apply()"
    events = [made(50, 500, node, ENGINE), made(40, 1000, ENGINE), *gone(25, 12, ENGINE), *gone(50, 500, ENGINE)]
    for address, base in ((41, 20), (42, 10)):
        events += [made(address, 100, ENGINE), *gone(base, 64, ENGINE), *gone(base + 1, 40, ENGINE)]
    return [*events, made(43, 1000, ENGINE), *gone(5, 40, ENGINE)]


def update() -> list[dict[str, Any]]:
    """Adam's states lie from 60 on, and each parameter's temporary at 90."""
    events = []
    for number, size in enumerate(PARAMETERS):
        events += [made(60 + number, size, ADAM, MAIN), made(70 + number, size, ADAM, MAIN)]
        events += [made(90, size, ADAM, MAIN), *gone(90, size, ADAM, MAIN)]
    return events


def step() -> dict[str, Any]:
    """The first step of a training: parameters at 1 to 4 lived before; logits and the loss live on."""
    events = [*forward(), *backward(), *update()]
    free = {one["addr"] for one in events if one["action"] == "free_completed"}
    held = {one["addr"]: block(one["addr"], one["size"]) for one in events if one["action"] == "alloc"}
    alive = [one for address, one in held.items() if address not in free]
    return pickled(events, blocks=[*(block(1 + n, size) for n, size in enumerate(PARAMETERS)), *alive])
