"""A device whose peaks are round: 1,000 FLOPs a ns in fp32, 4,000 in tf32, 10,000 in bf16, and 100 bytes a ns."""

from __future__ import annotations

from typing import Any

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.costs.hardware.measured import default_path
from perfkit.analysis.time.account import Account, Selection, account_for
from perfkit.schema import ceilings
from perfkit.schema.ceilings import Timing
from tests.builders import TraceBuilder
from tests.measured_peaks import a_cpu

NAME = "Round GPU"
MILLISECOND = (0.001,) * 5
SQUARE = [[100, 100], [100, 100]]
"""Of a matmul of 2,000,000 operations and 120,000 bytes in fp32: 2,000 ns at the peak, 1,200 at the bandwidth."""


def save_peaks(monkeypatch: Any, folder: Any) -> None:
    """As if `perfkit doctor --measure-peaks` had been there."""
    monkeypatch.setenv("PERFKIT_CACHE_DIR", str(folder))
    speeds = {"fp32": 1e12, "tf32": 4e12, "bf16": 1e13}
    matmul: Any = {name: Timing(size=1, work=speed / 1e3, samples_s=MILLISECOND) for name, speed in speeds.items()}
    copy = Timing(size=1, work=1e8, samples_s=MILLISECOND)
    measured = a_cpu(device="cuda", device_name=NAME, device_memory=None, threads=None, matmul=matmul, copy=copy)
    ceilings.save(measured, default_path(NAME))


def traced(name: str = NAME, devices: int = 1) -> TraceBuilder:
    """An empty trace of such devices."""
    return TraceBuilder(metadata={"deviceProperties": [{"id": number, "name": name} for number in range(devices)]})


def one_step(name: str = NAME) -> TraceBuilder:
    """A step of 20 us: a matmul (3,200 ns, at 62.5% of its roof), an addition of 60,000 bytes (800 ns, at 75% of its
    roof), a product of two short vectors (100 ns), in a module; and 50 ns of an unknown operator outside."""
    b = traced(name).step(0, 0, 20_000).module("net", 0, 90)
    b.call("aten::mm", 5, 20, SQUARE).launched("gemm", 10, 100, 3_300)
    b.call("aten::add", 21, 40, [[5_000], [5_000]]).launched("add", 30, 3_300, 4_100)
    b.call("aten::mul", 41, 60, [[10], [10]]).launched("mul", 50, 4_100, 4_200)
    return b.call("mylib::op", 91, 99, [[7]]).launched("odd", 95, 4_200, 4_250)


def account_of(b: TraceBuilder, selection: Selection | None = None) -> Account:
    trace = b.build()
    return account_for(trace, attribute(trace), selection)
