"""A training loop that reads the loss in each step, and so waits for the GPU before it prepares the next batch."""

from __future__ import annotations

from collections.abc import Callable

from tests.planted.machine import COMPUTE, PINNED, Machine
from tests.planted.parts import Network, parameters_of

WRONG = "loss.item() in each step: the host waits for the device, which then waits for the next batch to be prepared"
WHERE = "the end of the step"
LAYERS, WIDTH = 8, 1024
PREPARING_NS = 3_000_000


def step(fault: bool) -> Callable[[Machine], None]:
    def play(machine: Machine) -> None:
        network = Network(machine, batch=4, length=1024, width=WIDTH)
        machine.busy(PREPARING_NS)
        network.zero_grad()
        for number in range(LAYERS):
            network.layer(f"layers.{number}")
        network.backward()
        network.optimizer(parameters_of(LAYERS, WIDTH))
        if fault:
            with machine.op("aten::item", [[]]), machine.op("aten::_local_scalar_dense", [[]]):
                machine.copy("DtoH (Device -> Pinned)", 4, PINNED)
                machine.synchronise(COMPUTE)

    return play
