"""The card that a table is of, by the name that a person gives it."""

from __future__ import annotations

from dataclasses import dataclass

from perfkit.analysis.costs.hardware.lookup import PARTS
from perfkit.analysis.costs.hardware.model import Hardware
from perfkit.errors import UsageError, did_you_mean
from perfkit.schema.ceilings import Precision

_ALSO = {"H100 80GB HBM3": {"sxm", "sxm5"}}
"""Words that people use of a card, and its own name lacks."""
_NAMED = 8
"""Candidates that a message names."""


@dataclass(frozen=True, slots=True)
class Card:
    """What is known of it."""

    name: str = ""
    memory: int | None = None
    """Bytes, as the vendor names them: a device reports up to a tenth less."""
    hardware: Hardware | None = None

    def peak(self, precision: Precision) -> float | None:
        """FLOP/s at the nominal boost clock; None where it is not known."""
        found = None if self.hardware is None else self.hardware.peak(precision)
        return None if found is None else found.flops_per_s


def named(text: str, memory: int | None = None) -> Card:
    """The card whose name has these words and the fewest others: `RTX 4090` is not the laptop's.

    `memory`, in bytes, takes the place of the vendor's. Raises UsageError where no card, or more than one, is meant.
    """
    words = set(text.lower().removeprefix("nvidia ").split())
    having = [part for part in PARTS if words and words <= {*_words(part.name), *_ALSO.get(part.name, ())}]
    least = min((len(_words(part.name)) for part in having), default=0)
    near = {part.name for part in having if len(_words(part.name)) == least}
    exact = {part.name for part in PARTS if part.name.lower() == text.lower().removeprefix("nvidia ").strip()}
    names = sorted(exact or near)
    if len(names) != 1:
        names = sorted({part.name for part in having})
        listed = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
        raise UsageError(f"--device {text}: " + (f"name one of {listed}" if names else _unknown(text)))
    parts = [part for part in PARTS if part.name == names[0]]
    fitting = [part for part in parts if part.could_be(memory, None)] or parts
    if len({part.gib for part in fitting}) > 1 and memory is None:
        sizes = " or ".join(f"{gib:g}GiB" for gib in sorted({part.gib for part in fitting}))
        raise UsageError(f"--device {text} exists with several memories: add --memory {sizes}")
    part = fitting[0]
    return Card(part.name, memory or round(part.gib * 2**30), part.hardware())


def _unknown(text: str) -> str:
    close = did_you_mean(text, [part.name.removeprefix("GeForce ").lower() for part in PARTS])
    return f"no such card is known{close}; --memory 16GB alone judges by memory"


def _words(name: str) -> list[str]:
    return name.lower().replace("-", " ").split()
