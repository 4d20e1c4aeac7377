"""A training loop that brings each batch to the GPU from pageable memory, when it is needed and not before."""

from __future__ import annotations

from collections.abc import Callable

from tests.planted.machine import COMPUTE, COPIES, PAGEABLE, PINNED, Machine
from tests.planted.parts import Network, parameters_of

WRONG = "batches are copied from pageable memory, at a quarter of the speed, while the device waits"
WHERE = "the start of the step, before forward"
LAYERS, WIDTH = 8, 1024
SHAPE = [64, 3, 224, 224]
BYTES = 64 * 3 * 224 * 224 * 4


def step(fault: bool) -> Callable[[Machine], None]:
    def play(machine: Machine) -> None:
        network = Network(machine, batch=4, length=1024, width=WIDTH)
        with machine.op("aten::to", [SHAPE]), machine.op("aten::_to_copy", [SHAPE]), machine.op("aten::copy_", [SHAPE]):
            if fault:
                machine.copy("HtoD (Pageable -> Device)", BYTES, PAGEABLE)
                machine.synchronise(COMPUTE)
            else:
                machine.copy("HtoD (Pinned -> Device)", BYTES, PINNED, COPIES)  # the next step's batch
        arrived = None if fault else machine.record_event(COPIES)
        network.zero_grad()
        for number in range(LAYERS):
            network.layer(f"layers.{number}")
        network.backward()
        network.optimizer(parameters_of(LAYERS, WIDTH))
        if arrived is not None:
            machine.wait_event(COMPUTE, arrived)

    return play
