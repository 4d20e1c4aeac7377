"""Which device each of some names stands for, and what it has free: `python -m perfkit.measure.probe auto cuda:1`.

For processes that must not load PyTorch (perfkit.launch.places asks). Prints JSON: {name: [device, bytes or null]}.
"""

from __future__ import annotations

import sys

import msgspec

from perfkit.errors import UsageError
from perfkit.measure import estimate


def answer(names: list[str]) -> dict[str, tuple[str, int | None]]:
    """Device and free bytes for each name; a name that no device here answers to is left out."""
    found = {}
    for name in names:
        try:
            device = estimate.choose_device(name)
            found[name] = (device, estimate.available(device))
        except (UsageError, RuntimeError):  # RuntimeError: cuda:7 of a machine with two
            continue
    return found


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(answer(sys.argv[1:])))
