"""Small programs, recorded here on the CPU: each with one fault, and its healthy twin, which lacks the finding.

What decides is which operators run, and that the fault is most of the program; no number depends on the machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name the field uses
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile, schedule
from torch.utils.checkpoint import checkpoint

import perfkit
from perfkit.trace.load import load
from tests.analysis.findings.performance.cases import rules_of

STEPS = 3
Step = Callable[[], object]


def recorded(step: Step, folder: Path) -> list[str]:
    """The rules that speak of a recording of a few steps, the dearest first."""
    step()
    with profile(
        activities=[ProfilerActivity.CPU],
        record_shapes=True,
        schedule=schedule(wait=0, warmup=1, active=STEPS, repeat=1),
    ) as profiler:
        for _ in range(1 + STEPS):
            step()
            profiler.step()
    file = folder / "recorded.pt.trace.json"
    profiler.export_chrome_trace(str(file))
    return rules_of(load(file))


def training(
    model: nn.Module, batch: Tensor, *, set_to_none: bool = True, optimizer: torch.optim.Optimizer | None = None
) -> Step:
    chosen = optimizer or torch.optim.SGD(model.parameters(), lr=1e-3)

    def step() -> None:
        chosen.zero_grad(set_to_none=set_to_none)
        model(batch).square().mean().backward()
        chosen.step()

    return step


class Attention(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.project = kind, nn.Linear(32, 96)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.project(x).view(*x.shape[:2], 3, 2, 16).permute(2, 0, 3, 1, 4)
        if self.kind == "eager":
            scores = (q @ k.transpose(-2, -1) / math.sqrt(16)).masked_fill(q.new_ones(()).bool(), 0.5)
            return F.dropout(scores.softmax(-1), 0.1) @ v
        with sdpa_kernel(SDPBackend.MATH if self.kind == "math" else SDPBackend.FLASH_ATTENTION):
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class Norms(nn.Module):
    def __init__(self, *, fused: bool) -> None:
        super().__init__()
        self.linear, self.norm, self.fused = nn.Linear(64, 64), nn.RMSNorm(64), fused

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)
        for _ in range(4):
            x = (
                self.norm(x)
                if self.fused
                else x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.norm.weight
            )
        return x


class Applied(nn.Module):
    """A linear map with something before it."""

    def __init__(self, before: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.linear, self.before = nn.Linear(64, 64), before

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.before(x))


def many(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The change twenty times, so that it is most of the program."""

    def changed(x: Tensor) -> Tensor:
        for _ in range(20):
            x = change(x)
        return x

    return changed


class Layers(nn.Module):
    def __init__(self, *, slow: int | None, again: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(256, 256), nn.ReLU()) for _ in range(6))
        self.slow, self.again = slow, again

    def forward(self, x: Tensor) -> Tensor:
        for number, layer in enumerate(self.layers):
            x = checkpoint(layer, x, use_reentrant=False) if self.again else layer(x)
            for _ in range(10 if number == self.slow else 0):
                x = layer(x)
        return x


def convolution(*, bias: bool) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, bias=bias), nn.BatchNorm2d(8), nn.ReLU())


def adam(**how: Any) -> Step:
    model = nn.Sequential(*(nn.Linear(16, 16) for _ in range(20)))
    return training(model, torch.randn(4, 16), optimizer=torch.optim.AdamW(model.parameters(), **how))


def gathered(how: Callable[[Tensor, Tensor], Tensor]) -> Step:
    table, index = nn.Parameter(torch.randn(500, 64)), torch.randint(0, 500, (4000,))

    def step() -> None:
        table.grad = None
        how(table, index).square().mean().backward()

    return step


def checked(*, mode: bool) -> Step:
    step = training(Layers(slow=None), torch.randn(256, 256))

    def inside() -> None:
        with torch.autograd.set_detect_anomaly(mode):
            step()

    return inside


def rows(*, loop: bool) -> Step:
    x, w = torch.randn(50, 16), torch.randn(16, 16)

    def step() -> None:
        torch.stack([x[number] @ w for number in range(50)]) if loop else x @ w

    return step


def attending(kind: str) -> Step:
    return training(Attention(kind), torch.randn(4, 128, 32))


def wide() -> Tensor:
    return torch.randn(2048, 64)


PLANTED: dict[str, tuple[Callable[[], Step], Callable[[], Step]]] = {
    "eager-attention": (lambda: attending("eager"), lambda: attending("flash")),
    "sdpa-math": (lambda: attending("math"), lambda: attending("flash")),
    "unfused-optimizer": (lambda: adam(foreach=False, fused=False), lambda: adam(fused=True)),
    "elementwise-chains": (
        lambda: training(Norms(fused=False), wide()),
        lambda: training(Norms(fused=True), wide()),
    ),
    "repeated-casts": (
        lambda: training(Applied(many(lambda x: x.double().float())), wide()),
        lambda: training(Applied(lambda x: x), wide()),
    ),
    "layout-copies": (
        lambda: training(Applied(many(lambda x: x.t().contiguous().t().contiguous())), wide()),
        lambda: training(Applied(lambda x: x.contiguous()), wide()),
    ),
    "concatenations": (
        lambda: training(Applied(many(lambda x: torch.cat([x[:1000], x[1000:]]))), wide()),
        lambda: training(Applied(lambda x: x), wide()),
    ),
    "index-puts": (
        lambda: gathered(lambda table, index: table[index]),
        lambda: gathered(lambda table, index: F.embedding(index, table)),
    ),
    "zeroed-gradients": (
        lambda: training(Layers(slow=None), torch.randn(4, 256), set_to_none=False),
        lambda: training(Layers(slow=None), torch.randn(4, 256)),
    ),
    "python-loop": (lambda: rows(loop=True), lambda: rows(loop=False)),
    "anomaly-mode": (lambda: checked(mode=True), lambda: checked(mode=False)),
    "recomputation": (
        lambda: training(Layers(slow=None, again=True), torch.randn(256, 256)),
        lambda: training(Layers(slow=None), torch.randn(256, 256)),
    ),
    "bias-before-batch-norm": (
        lambda: training(convolution(bias=True), torch.randn(2, 3, 16, 16)),
        lambda: training(convolution(bias=False), torch.randn(2, 3, 16, 16)),
    ),
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads of one operator that wait for each other take as long as a busy machine lets them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("rule", PLANTED)
def test_a_fault_is_found_and_its_healthy_twin_lacks_it(rule, tmp_path):
    faulty, healthy = PLANTED[rule]
    assert rule in recorded(faulty(), tmp_path)
    assert rule not in recorded(healthy(), tmp_path)


@pytest.mark.parametrize(("slow", "said"), [(3, True), (None, False)])
def test_a_layer_that_does_more_than_its_siblings(slow, said, tmp_path):
    """GIVEN annotated layers, of which one runs eleven times THEN it stands out; without it none does"""
    model = Layers(slow=slow)
    with perfkit.annotate(model):
        found = recorded(training(model, torch.randn(256, 256)), tmp_path)
    assert ("uneven-layers" in found) == said
