"""Measures the two ceilings of a device: large matrix products in each precision, and a large copy.

Matrices grow until a product takes long enough to be timed, and are then timed as steps are (`timing.py`): after
warm-up, synchronised, with the garbage collector off, again and again.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import torch

from perfkit.measure import memory_limit
from perfkit.measure.environment import HERE, Machine, cpu_model
from perfkit.measure.loop import StepClock
from perfkit.measure.timing import make_clock, quiet_garbage_collector
from perfkit.schema.ceilings import Ceilings, Precision, Timing
from perfkit.workload import step

Operation = Callable[[], object]
"""Enqueues one product or copy."""
Maker = Callable[[int, str], Operation]
"""Allocates operands of a size on a device."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How large and how often."""

    first: int = 512
    """n of the first n x n matrices; it is doubled until a product takes `long_enough_s`."""
    largest: int = 16384
    long_enough_s: float = 0.005
    copied: int = 2 << 30
    """Bytes of the tensor that is copied: far more than any cache."""
    samples: int = 20
    """At least so many, and ..."""
    budget_s: float = 1.0
    """... at least so long; but no more than `patience_s`, once there are five."""
    patience_s: float = 8.0


ON_CPU = Effort(largest=8192, long_enough_s=0.1, copied=512 << 20)
ON_GPU = Effort()
_FEWEST = 5
_TRIES = 3
"""Products of a size before it is called long enough: the fastest counts."""
_SHARE = 8
"""A tensor takes at most one part in so many of the free memory."""


def _product(dtype: torch.dtype) -> Maker:
    def make(n: int, device: str) -> Operation:
        left, right = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
        out = torch.empty(n, n, dtype=dtype, device=device)
        return lambda: torch.mm(left, right, out=out)

    return make


def _int8(n: int, device: str) -> Operation:
    left, right = (torch.randint(-8, 8, (n, n), dtype=torch.int8, device=device) for _ in range(2))
    return lambda: torch._int_mm(left, right)


def _fp8(n: int, device: str) -> Operation:
    left, right = (torch.randn(n, n, device=device).to(torch.float8_e4m3fn) for _ in range(2))
    one = torch.ones((), device=device)
    return lambda: torch._scaled_mm(left, right.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16)


def _copy(size: int, device: str) -> Operation:
    source, target = (torch.zeros(size, dtype=torch.uint8, device=device) for _ in range(2))
    return lambda: target.copy_(source)


_ON_CPU: dict[Precision, Maker] = {
    "fp64": _product(torch.float64),
    "fp32": _product(torch.float32),
    "bf16": _product(torch.bfloat16),
    "fp16": _product(torch.float16),
}
_ON_GPU: dict[Precision, Maker] = {
    "fp64": _ON_CPU["fp64"],
    "fp32": _ON_CPU["fp32"],
    "tf32": _ON_CPU["fp32"],
    "bf16": _ON_CPU["bf16"],
    "fp16": _ON_CPU["fp16"],
    "fp16-acc16": _ON_CPU["fp16"],
    "fp8": _fp8,
    "int8": _int8,
}


def products(device: str, machine: Machine = HERE) -> dict[Precision, Maker]:
    """The precisions to measure on a device. Those that need NVIDIA's tensor cores are left out where there are none.

    tf32 needs compute capability 8.0, fp8 8.9, sums in fp16 a switch of PyTorch's that only CUDA builds heed.
    """
    if device == "cpu":
        return _ON_CPU
    properties = machine.torch.cuda.get_device_properties(device)
    capability, is_cuda = (properties.major, properties.minor), machine.torch.version.cuda is not None
    lacking = {
        "tf32": not is_cuda or capability < (8, 0),
        "fp16-acc16": not is_cuda or capability < (7, 0),
        "fp8": is_cuda and capability < (8, 9),
    }
    return {precision: make for precision, make in _ON_GPU.items() if not lacking.get(precision)}


@contextmanager
def switched(precision: Precision, backend: Any = torch) -> Iterator[None]:
    """PyTorch's switches as the precision needs them, and afterwards as they were."""
    rounding = backend.get_float32_matmul_precision()
    matmul = backend.backends.cuda.matmul
    sums = matmul.allow_fp16_accumulation
    backend.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    matmul.allow_fp16_accumulation = precision == "fp16-acc16"
    try:
        yield
    finally:
        matmul.allow_fp16_accumulation = sums
        backend.set_float32_matmul_precision(rounding)


@dataclass(slots=True)
class Bench:
    """Where operations are timed."""

    device: str
    clock: StepClock
    threads: int | None
    """Of a CPU."""
    free: int
    """Bytes."""
    effort: Effort
    now: Callable[[], float] = field(default=time.monotonic)

    def product(self, make: Maker) -> Timing:
        """Time matrix products, of matrices that are large enough."""
        n = self.effort.first
        while True:
            operation = make(n, self.device)
            operation()
            fastest = min(self._seconds(operation)[0] for _ in range(_TRIES))
            widest = 8 * (2 * n) ** 2
            if fastest >= self.effort.long_enough_s or 2 * n > self.effort.largest or widest * _SHARE > self.free:
                return self._timing(operation, n, 2.0 * n**3)
            n *= 2

    def copy(self) -> Timing:
        """Time copies: each byte is read once and written once."""
        size = min(self.effort.copied, self.free // _SHARE)
        operation = _copy(size, self.device)
        operation()
        return self._timing(operation, size, 2.0 * size)

    def _timing(self, operation: Operation, size: int, work: float) -> Timing:
        seconds: list[float] = []
        cpu = 0.0
        begin = self.now()
        while self._wants_more(len(seconds), self.now() - begin):
            one, of_cpu = self._seconds(operation)
            seconds.append(one)
            cpu += of_cpu
        share = cpu / sum(seconds) / self.threads if self.threads else None
        return Timing(size=size, work=work, samples_s=tuple(seconds), cpu_share=share)

    def _wants_more(self, samples: int, spent: float) -> bool:
        if samples < _FEWEST:
            return True
        return spent < self.effort.patience_s and (samples < self.effort.samples or spent < self.effort.budget_s)

    def _seconds(self, operation: Operation) -> tuple[float, float]:
        """Seconds of one operation on the device, and CPU time of this process meanwhile."""
        self.clock.begin()
        self.clock.phase("operation")
        operation()
        sample = self.clock.end()
        return sample.wall_s if sample.device_s is None else sample.device_s, sample.cpu_s or 0.0


def measure(
    wanted: str,
    on_stage: Callable[[str], None],
    *,
    threads: int | None = None,
    effort: Effort | None = None,
    only: Mapping[Precision, Maker] | None = None,
    machine: Machine = HERE,
) -> Ceilings:
    """Measure a device (auto, cpu, cuda, cuda:N); `on_stage` hears what is being measured.

    `threads`: how many PyTorch uses on a CPU from now on; default: as it is. `only`: these products instead of all.
    A product that PyTorch cannot compute here is left out, with the reason. Raises UsageError for a device that PyTorch
    does not see.
    """
    device = step.choose_device(wanted)
    if threads is not None:
        machine.torch.set_num_threads(threads)
    on_cpu = device == "cpu"
    properties = None if on_cpu else machine.torch.cuda.get_device_properties(device)
    used = machine.torch.get_num_threads() if on_cpu else None
    effort = effort or (ON_CPU if on_cpu else ON_GPU)
    bench = Bench(device, make_clock(device), used, memory_limit.available(device), effort)
    matmul: dict[Precision, Timing] = {}
    skipped: dict[Precision, str] = {}
    with torch.inference_mode(), quiet_garbage_collector(enabled=True):
        for precision, make in (products(device, machine) if only is None else only).items():
            on_stage(f"{precision} matrix products")
            try:
                with switched(precision):
                    matmul[precision] = bench.product(make)
            except (RuntimeError, NotImplementedError) as error:  # of a type or a size that this PyTorch lacks
                skipped[precision] = (
                    str(error).strip().splitlines()[0][:200] if str(error).strip() else "no reason said"
                )
        on_stage("copies")
        copy = bench.copy()
    return Ceilings(
        device=device,
        device_name=properties.name if properties else cpu_model(machine),
        device_memory=properties.total_memory if properties else machine.memory().total,
        multiprocessors=properties.multi_processor_count if properties else None,
        threads=used,
        hostname=platform.node(),
        torch=str(machine.torch.__version__),
        created=datetime.now(UTC).astimezone().isoformat(timespec="seconds"),
        matmul=matmul,
        copy=copy,
        skipped=skipped,
    )
