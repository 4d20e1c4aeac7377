"""Parts of a training step as a Machine plays them: a Transformer's layers, backward, the optimizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.planted.machine import AUTOGRAD, Machine, matmul_ns, moving_ns

GEMM = "sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_warpgroupsize1x1x1_execute_segment_k_off_kernel"
NORM = "void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<c10::BFloat16, float>(int, float)"
NORM_BACKWARD = "void at::native::(anonymous namespace)::layer_norm_grad_input_kernel_vectorized<c10::BFloat16, float>"
NORM_WEIGHTS = "void at::native::(anonymous namespace)::GammaBetaBackwardCUDAKernelTemplate<c10::BFloat16, float>"
FLASH = "void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64, 128, 128, 4>, false, true>"
FLASH_BACKWARD = "void pytorch_flash::flash_bwd_dq_dk_dv_loop_seqk_parallel_kernel<Flash_bwd_kernel_traits<64>>"
ADD = "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<c10::BFloat16>>"
GELU = "void at::native::vectorized_elementwise_kernel<4, at::native::GeluCUDAKernelImpl(at::TensorIteratorBase&)>"
GELU_BACKWARD = "void at::native::vectorized_elementwise_kernel<4, at::native::GeluBackwardCUDAKernelImpl>"
SUM = "void at::native::reduce_kernel<128, 4, at::native::ReduceOp<c10::BFloat16, at::native::sum_functor>>"
ADAMW = "void at::native::(anonymous namespace)::multi_tensor_apply_kernel<FusedAdamMathFunctor<float, 4>>"

Dims = list[list[int]]
Launch = tuple[str, Dims, str, int]
"""An operator, its shapes, the kernel that it launches, and that kernel's ns."""


@dataclass(frozen=True)
class _Node:
    name: str
    number: int
    launches: list[Launch]
    parameters: int


class Network:
    """Layers that run forward, and then backward by what they left on the tape."""

    def __init__(self, machine: Machine, batch: int, length: int, width: int, *, training: bool = True) -> None:
        self.machine, self.training = machine, training
        self.batch, self.length, self.width = batch, length, width
        self.rows = batch * length
        self._tape: list[_Node] = []

    def operation(
        self, names: list[str], launch: Launch, node: str, backward: list[Launch], parameters: int = 0
    ) -> None:
        """An operator, with others round it (outermost first), that launches one kernel and leaves a node."""
        inner, dims, kernel, ns = launch
        number = self.machine.sequence() if self.training else 0
        grad = {"Sequence number": number, "Fwd thread id": 0} if self.training else {}
        self._nested(names, launch, lambda: self._launch(inner, dims, kernel, ns, **grad))
        if self.training:
            self._tape.append(_Node(node, number, backward, parameters))

    def linear(self, into: int, outof: int) -> None:
        """aten::linear in bf16, [rows, into] -> [rows, outof]."""
        dims = [[outof], [self.rows, into], [into, outof], [], []]
        back = [
            ("aten::mm", [[self.rows, outof], [outof, into]], GEMM, matmul_ns(self.rows, outof, into)),
            ("aten::mm", [[outof, self.rows], [self.rows, into]], GEMM, matmul_ns(outof, self.rows, into)),
            ("aten::sum", [[self.rows, outof], [], []], SUM, moving_ns(self.rows * outof, 1)),
        ]
        launch = ("aten::addmm", dims, GEMM, matmul_ns(self.rows, into, outof))
        self.operation(["aten::linear"], launch, "AddmmBackward0", back, parameters=2)

    def norm(self) -> None:
        """aten::layer_norm over the width."""
        shape = [self.batch, self.length, self.width]
        count, dims = self.rows * self.width, [shape, [], [self.width], [self.width], []]
        back = [
            ("aten::native_layer_norm_backward", [shape, shape], NORM_BACKWARD, moving_ns(count, 3)),
            ("aten::native_layer_norm_backward", [shape, shape], NORM_WEIGHTS, moving_ns(count, 2)),
        ]
        launch = ("aten::native_layer_norm", dims, NORM, moving_ns(count, 2))
        self.operation(["aten::layer_norm"], launch, "NativeLayerNormBackward0", back, parameters=2)

    def attention(self) -> None:
        """Flash attention, causal."""
        shape = [self.batch, self.width // 64, self.length, 64]
        flops = 4 * self.batch * self.length**2 * self.width // 2
        ns = int(1e9 * flops / 300e12) + 3_000
        backward = "aten::_scaled_dot_product_flash_attention_backward"
        back = [(backward, [shape] * 4, FLASH_BACKWARD, int(2.5 * ns))]
        names = ["aten::scaled_dot_product_attention", "aten::_scaled_dot_product_flash_attention"]
        launch = ("aten::_flash_attention_forward", [shape] * 3, FLASH, ns)
        self.operation(names, launch, "ScaledDotProductFlashAttentionBackward0", back)

    def add(self) -> None:
        """The residual."""
        shape = [self.batch, self.length, self.width]
        launch = ("aten::add", [shape, shape, []], ADD, moving_ns(self.rows * self.width, 3))
        self.operation([], launch, "AddBackward0", [])

    def gelu(self, width: int) -> None:
        """aten::gelu."""
        shape, count = [self.batch, self.length, width], self.rows * width
        back = [("aten::gelu_backward", [shape, shape], GELU_BACKWARD, moving_ns(count, 3))]
        self.operation([], ("aten::gelu", [shape], GELU, moving_ns(count, 2)), "GeluBackward0", back)

    def layer(self, path: str) -> None:
        """A layer of a Transformer, in the ranges of its modules."""
        with self.machine.module(path):
            with self.machine.module(f"{path}.norm1"):
                self.norm()
            with self.machine.module(f"{path}.attention"):
                self.linear(self.width, 3 * self.width)
                self.attention()
                self.linear(self.width, self.width)
            self.add()
            with self.machine.module(f"{path}.norm2"):
                self.norm()
            with self.machine.module(f"{path}.mlp"):
                self.linear(self.width, 4 * self.width)
                self.gelu(4 * self.width)
                self.linear(4 * self.width, self.width)
            self.add()

    def backward(self) -> None:
        """loss.backward(): the autograd thread runs the nodes, last first, while the main thread waits."""
        with self.machine.on_thread(AUTOGRAD):
            while self._tape:
                node = self._tape.pop()
                numbers: dict[str, Any] = {"Sequence number": node.number, "Fwd thread id": 1}
                with (
                    self.machine.range(f"autograd::engine::evaluate_function: {node.name}", own_ns=2_000, **numbers),
                    self.machine.range(node.name, own_ns=2_000, **numbers),
                ):
                    for launch in node.launches:
                        self._launch(*launch)
                for _ in range(node.parameters):
                    with (
                        self.machine.range("autograd::engine::evaluate_function: torch::autograd::AccumulateGrad"),
                        self.machine.range("torch::autograd::AccumulateGrad", own_ns=2_000),
                    ):
                        pass

    def optimizer(self, parameters: int) -> None:
        """A fused AdamW over so many parameters, in float32."""
        with self.machine.range("Optimizer.step#AdamW.step", "user_annotation", own_ns=200_000):
            for _ in range(4):
                self._launch("aten::_fused_adamw_", [[]], ADAMW, moving_ns(parameters // 4, 7, width=4))

    def zero_grad(self) -> None:
        """Gradients become None."""
        with self.machine.range("Optimizer.zero_grad#AdamW.zero_grad", "user_annotation", own_ns=60_000):
            pass

    def _launch(self, name: str, dims: Dims, kernel: str, ns: int, **args: int) -> None:
        with self.machine.op(name, dims, **args):
            self.machine.kernel(kernel, ns)

    def _nested(self, names: list[str], launch: Launch, inside: Callable[[], None]) -> None:
        if not names:
            inside()
            return
        with self.machine.op(names[0], launch[1], own_ns=2_000):
            self._nested(names[1:], launch, inside)


def parameters_of(layers: int, width: int) -> int:
    """How many parameters such layers have, without biases and norms."""
    return layers * 12 * width**2
