"""Ceilings by hand, for tests."""

from __future__ import annotations

from typing import Any

from perfkit.schema.ceilings import Ceilings, Timing


def product(*samples_s: float, n: int = 1000, **changes: Any) -> Timing:
    """A matrix product of 2e9 FLOPs."""
    return Timing(size=n, work=2.0 * n**3, samples_s=samples_s or (0.01,) * 5, **changes)


def a_cpu(**changes: Any) -> Ceilings:
    """200 GFLOP/s in fp32, 20 GB/s, two threads."""
    plain: dict[str, Any] = {
        "device": "cpu", "device_name": "AMD EPYC", "device_memory": 2**34, "multiprocessors": None, "threads": 2,
        "hostname": "here", "torch": "2.13.0", "created": "2026-01-02T03:04:05+00:00",
        "matmul": {"fp32": product()}, "copy": Timing(size=10**8, work=2e8, samples_s=(0.01,) * 5),
    }  # fmt: skip
    return Ceilings(**{**plain, **changes})


def an_h100(**changes: Any) -> Ceilings:
    """800 TFLOP/s in bf16, 3 TB/s."""
    plain: dict[str, Any] = {
        "device": "cuda", "device_name": "NVIDIA H100 80GB HBM3", "device_memory": 85_000_000_000,
        "multiprocessors": 132, "threads": None,
        "matmul": {"bf16": Timing(size=10_000, work=2e12, samples_s=(0.0025,) * 5)},
        "copy": Timing(size=3 * 10**9, work=6e9, samples_s=(0.002,) * 5),
    }  # fmt: skip
    return a_cpu(**{**plain, **changes})
