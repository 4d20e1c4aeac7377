"""Inference that waits for the device after each layer, to time the layers, and forgot to take that out."""

from __future__ import annotations

from collections.abc import Callable

from tests.planted.machine import Machine
from tests.planted.parts import Network

WRONG = "torch.cuda.synchronize() after each layer: the host prepares the next layer only when the device has run dry"
WHERE = "layers.*"
LAYERS, WIDTH = 24, 1024
BOOKKEEPING_NS = 120_000
"""Python in each layer: the choice of an adapter, statistics."""


def step(fault: bool) -> Callable[[Machine], None]:
    def play(machine: Machine) -> None:
        network = Network(machine, batch=6, length=1024, width=WIDTH, training=False)
        for number in range(LAYERS):
            machine.busy(BOOKKEEPING_NS)
            network.layer(f"layers.{number}")
            if fault:
                machine.synchronise()

    return play
