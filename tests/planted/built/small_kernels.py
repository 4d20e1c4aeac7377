"""A recurrent network whose cell is written by hand: each time step launches a dozen kernels of a few microseconds."""

from __future__ import annotations

from collections.abc import Callable

from tests.planted.machine import Machine, moving_ns
from tests.planted.parts import ADD, Network, parameters_of

WRONG = "an LSTM as a loop of small elementwise kernels, which end sooner than the host can launch the next"
WHERE = "recurrent"
LAYERS, WIDTH, TIME, UNITS = 6, 1024, 48, 256
GATES = 11
"""Elementwise operators of a time step: sums, sigmoids, tanhs, products."""
PERSISTENT = "void RNN_blockPersist_fp_LSTM<__half, __half, float, 256>(persistentRNN_params)"
POINTWISE = "void at::native::vectorized_elementwise_kernel<4, at::native::sigmoid_kernel_cuda>"


def by_hand(network: Network) -> None:
    shape = [4, UNITS]
    for _ in range(TIME):
        for gate in range(GATES):
            name = "aten::add" if gate % 2 else "aten::sigmoid"
            kernel, ns = ADD if gate % 2 else POINTWISE, moving_ns(4 * UNITS, 3)
            back = [] if gate % 2 else [("aten::sigmoid_backward", [shape, shape], POINTWISE, ns)]
            network.operation([], (name, [shape], kernel, ns), "AddBackward0" if gate % 2 else "SigmoidBackward0", back)


def fused(network: Network) -> None:
    shape = [TIME, 4, UNITS]
    back = [("aten::_cudnn_rnn_backward", [shape, shape], PERSISTENT, 600_000)]
    network.operation(["aten::lstm"], ("aten::_cudnn_rnn", [shape], PERSISTENT, 300_000), "CudnnRnnBackward0", back, 4)


def step(fault: bool) -> Callable[[Machine], None]:
    def play(machine: Machine) -> None:
        network = Network(machine, batch=4, length=1024, width=WIDTH)
        network.zero_grad()
        with machine.module("recurrent"):
            (by_hand if fault else fused)(network)
        for number in range(LAYERS):
            network.layer(f"layers.{number}")
        network.backward()
        network.optimizer(parameters_of(LAYERS, WIDTH))

    return play
