"""Which device a name stands for, asked without a device."""

from __future__ import annotations

from perfkit.errors import UsageError
from perfkit.measure import probe


def test_each_name_is_answered_with_its_device_and_what_is_free_there():
    # GIVEN
    def choose(name: str) -> str:
        if name == "cuda:7":
            raise UsageError("there are 2 CUDA devices, counted from 0")
        return {"auto": "cuda"}.get(name, name)

    def available(device: str) -> int | None:
        if device == "cuda:1":
            raise RuntimeError("CUDA error: out of memory")
        return {"cpu": 5, "cuda": None}[device]

    # THEN what no device answers to is left out, whatever comes after it
    assert probe.answer(["cuda:7", "auto", "cuda:1", "cpu"], choose, available) == {
        "auto": ("cuda", None),
        "cpu": ("cpu", 5),
    }
