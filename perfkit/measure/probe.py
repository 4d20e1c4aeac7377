"""The device and free memory behind each device name: `python -m perfkit.measure.probe auto cuda:1`.

For processes that must not load PyTorch (perfkit.launch.places runs it). Prints JSON: {name: [device, bytes or null]}.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import msgspec

from perfkit.errors import UsageError
from perfkit.measure import estimate


def answer(
    names: list[str],
    choose: Callable[[str], str] = estimate.choose_device,
    available: Callable[[str], int | None] = estimate.available,
) -> dict[str, tuple[str, int | None]]:
    """Device and free bytes for each name; a name without a device on this machine is left out."""
    free = {}
    for name in names:
        try:
            device = choose(name)
            free[name] = (device, available(device))
        except (UsageError, RuntimeError):  # RuntimeError: cuda:7 on a machine with two GPUs
            continue
    return free


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(answer(sys.argv[1:])))
