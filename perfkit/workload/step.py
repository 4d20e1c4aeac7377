"""One step of the workload: zero_grad, forward, loss, backward, optimizer; the pass type decides where it ends.

Where a data loader has the batches, the step begins with data: the next one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name the field uses
from torch import Tensor, nn
from torch.utils._triton import has_triton

from perfkit.errors import UsageError
from perfkit.schema.config import RunConfig
from perfkit.workload.annotate import Annotation, annotate
from perfkit.workload.model import Transformer
from perfkit.workload.protocol import OnPhase

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
_OPTIMIZER_FLAGS: dict[str, dict[str, bool]] = {
    "adamw": {},
    "adamw-foreach": {"foreach": True},
    "adamw-fused": {"fused": True},
}


def _nobody_asks(_: object) -> None:
    """Ignores what a phase made, where there are no ranges."""


def choose_device(wanted: str, cuda: Any = torch.cuda) -> str:
    """Turn `auto` into cuda or cpu; check anything else against what PyTorch sees (`cuda`: torch.cuda)."""
    if wanted == "auto":
        return "cuda" if cuda.is_available() else "cpu"
    if wanted != "cpu" and not cuda.is_available():
        raise UsageError(f"--device {wanted}: PyTorch {torch.__version__} sees no CUDA device; use --device cpu")
    if wanted.startswith("cuda:") and int(wanted[5:]) >= cuda.device_count():
        raise UsageError(f"--device {wanted}: PyTorch sees {cuda.device_count()} CUDA devices, numbered from 0")
    return wanted


def check(
    config: RunConfig,
    *,
    cuda: Any = torch.cuda,
    cpu_count: Callable[[], int | None] = os.cpu_count,
    has_triton: Callable[[], bool] = has_triton,
) -> None:
    """Reject what this machine cannot run before anything is allocated. Needs a resolved configuration.

    Raises UsageError that says what to change.
    """
    # OpenMP ends the process if it cannot start a thread, so more threads than CPUs are refused.
    cpus = cpu_count()
    wanted = config.step
    if wanted.num_threads is not None and cpus is not None and wanted.num_threads > cpus:
        raise UsageError(
            f"--num-threads {wanted.num_threads}: this machine has {cpus} logical CPUs: choose at most that many"
        )
    if wanted.device == "cpu":
        if wanted.compile != "off":
            _need_cpp_compiler()
        return
    if wanted.precision == "tf32":
        _need_ampere(config, "--precision tf32", cuda)
    if (backend := config.value("sdpa_backend")) in ("flash", "cudnn"):
        _need_ampere(config, f"--sdpa-backend {backend}", cuda)
        if wanted.precision not in _AUTOCAST:
            raise UsageError(f"--sdpa-backend {backend} needs --precision bf16 or fp16 on a GPU")
    if wanted.compile != "off" and not has_triton():
        raise UsageError(f"--compile {wanted.compile} needs Triton on a GPU: pip install triton, or --compile off")


def _need_ampere(config: RunConfig, flag: str, cuda: Any) -> None:
    major, minor = cuda.get_device_capability(config.step.device)
    if major < 8:
        raise UsageError(f"{flag} needs compute capability 8.0, and this GPU has {major}.{minor}")


def _need_cpp_compiler() -> None:
    # Inductor takes a second to import and only --compile needs it.
    from torch._inductor import cpp_builder, exc  # noqa: PLC0415

    try:
        cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler as error:
        raise UsageError("--compile needs a C++ compiler on a CPU: install g++, or use --compile off") from error


def matmul_precision(config: RunConfig) -> str:
    """How far PyTorch may round in fp32 matmuls: "high" (10 bits of mantissa) with tf32, else "highest" (all 23)."""
    return "high" if config.step.precision == "tf32" else "highest"


class StepWorkload:
    """A model, and a step that runs its forward, a loss, backward and an optimizer. Needs a resolved configuration.

    `model` is on its device. What a step computes forward, and which loss it has of that, a subclass says.
    """

    def __init__(self, config: RunConfig, model: nn.Module) -> None:
        self.config = config
        self.model: Any = model
        self.prepare()
        self.optimizer = self._make_optimizer()
        self._scaler = self._make_scaler()
        self._compile()
        self.has_graphs = config.step.compile_mode != "default" and self.device_type == "cuda"
        """Whether torch.compile records CUDA graphs, which have to be told where a step begins."""
        self.annotation: Annotation | None = None
        self.keeps = False
        """Whether `made` is to hold what a step computes."""
        self.made: Any = None
        """The loss of the last step, or what its forward pass returned where it has no loss."""

    def forward(self) -> Any:
        """Call the model."""
        raise NotImplementedError

    def loss(self, made: Any) -> Tensor:
        """A number of what `forward` returned."""
        raise NotImplementedError

    has_loader = False
    """Whether each step computes on a batch of its own, which `load` gets."""

    def load(self) -> None:
        """Get the next batch."""
        raise NotImplementedError

    def draw_alike(self) -> None:
        """Have what a loader's rows draw by chance not depend on who reads them. Without a loader nothing is drawn."""

    @property
    def inputs(self) -> Any:
        """What a step is given, such as a batch: tensors, and collections of them."""
        raise NotImplementedError

    @property
    def blocks(self) -> Iterable[nn.Module]:
        """What `--compile block` compiles, each by itself."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Change the model before its optimizer is made: here nothing."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What the optimizer is given."""
        return [{"params": list(self.model.parameters())}]

    @property
    def device_type(self) -> str:
        """The type of device: cpu or cuda."""
        return torch.device(self.config.step.device).type

    def _make_optimizer(self) -> torch.optim.Optimizer | None:
        if self.config.step.pass_type != "train":
            return None
        return torch.optim.AdamW(self.parameter_groups(), **_OPTIMIZER_FLAGS[self.config.step.optimizer])  # type: ignore[arg-type]

    def _make_scaler(self) -> torch.amp.GradScaler | None:
        if self.config.step.precision != "fp16" or self.config.step.pass_type == "forward":
            return None
        return torch.amp.GradScaler(self.device_type)

    def _compile(self) -> None:
        asked = self.config.step
        if asked.compile == "model":
            self.model.compile(mode=asked.compile_mode)
        elif asked.compile == "block":
            for block in self.blocks:
                block.compile(mode=asked.compile_mode)

    def annotate(self, *, gradients: bool = False, backward: bool = False) -> Annotation:
        """Put every phase inside a range from now on, and every module while the annotation is entered or installed."""
        self.annotation = annotate(self.model, gradients=gradients, backward=backward)
        return self.annotation

    def _autocast(self) -> AbstractContextManager[object]:
        dtype = _AUTOCAST.get(self.config.step.precision)
        return nullcontext() if dtype is None else torch.autocast(self.device_type, dtype=dtype)

    def step(self, on_phase: OnPhase) -> None:
        """Run one step. On a GPU it only enqueues the work: the caller synchronises."""

        def begin(name: str) -> AbstractContextManager[Callable[[object], None]]:
            on_phase(name)
            return self.annotation.phase(name) if self.annotation else nullcontext(_nobody_asks)

        if self.has_loader:
            with begin("data"):
                self.load()
        if self.has_graphs:  # else each block's call would be a step, which frees what those before it returned
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        if self.config.step.pass_type == "forward":
            with begin("forward"), torch.no_grad(), self._autocast():
                outputs = self.forward()
            self.made = outputs if self.keeps else None
            return
        with begin("zero_grad"):
            self._zero_grad()
        with self._autocast():
            with begin("forward"):
                outputs = self.forward()
            with begin("loss") as made:
                loss = self.loss(outputs)
                self.made = loss.detach() if self.keeps else None
                loss = self._scaled(loss)
                made(loss)
        with begin("backward"):
            self._backward(loss)
        if self.optimizer is not None:
            with begin("optimizer"):
                self._optimizer_step(self.optimizer)

    def _zero_grad(self) -> None:
        if self.optimizer is not None:
            self.optimizer.zero_grad(set_to_none=True)
        else:
            self.model.zero_grad(set_to_none=True)

    @property
    def scale(self) -> float:
        """What the gradients of the last step are too large by: those of fp16 are scaled, but for an optimizer."""
        return 1.0 if self._scaler is None or self.optimizer is not None else self._scaler.get_scale()

    def _scaled(self, loss: Tensor) -> Tensor:
        return loss if self._scaler is None else self._scaler.scale(loss)

    def _backward(self, loss: Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]

    def _optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        if self._scaler is None:
            optimizer.step()
        else:
            self._scaler.step(optimizer)
            self._scaler.update()


class TransformerWorkload(StepWorkload):
    """perfkit's Transformer, a batch and what else a step needs. Needs a resolved and checked configuration.

    Construction draws the weights and the tokens from `config.step.seed`; nothing else is random.
    """

    def __init__(self, config: RunConfig) -> None:
        torch.set_float32_matmul_precision(matmul_precision(config))
        torch.manual_seed(config.step.seed)
        with torch.device(config.step.device):
            self.config = config
            model = Transformer(config)
            self._before_batch = _generator(config.step.device).clone_state()
            self.tokens, self.targets = self.draw(config.step.batch_size)
        super().__init__(config, model)

    def repeat(self, sequences: int) -> None:
        """Make the batch that of a run with so many sequences, repeated until it is full; the tensors stay.

        Raises UsageError where that comes out uneven.
        """
        times, over = divmod(self.config.step.batch_size, sequences)
        if over or not times:
            raise UsageError(f"--batch-size {self.config.step.batch_size} is no multiple of {sequences} sequences")
        generator = _generator(self.config.step.device)
        now = generator.get_state()
        generator.set_state(self._before_batch.get_state())
        with torch.device(self.config.step.device):
            drawn = self.draw(sequences)
        generator.set_state(now)
        for mine, again in zip(self.inputs, drawn, strict=True):
            mine.copy_(again.repeat(times, 1))

    def draw(self, sequences: int) -> tuple[Tensor, Tensor]:
        """Tokens and targets, each (sequences, t), on PyTorch's default device."""
        shape = (sequences, self.config.step.context_length or 0)
        vocabulary = self.config.transformer.vocab_size
        return torch.randint(vocabulary, shape), torch.randint(vocabulary, shape)

    @property
    def inputs(self) -> tuple[Tensor, Tensor]:
        """Tokens and targets, each (b, t)."""
        return self.tokens, self.targets

    @property
    def blocks(self) -> Iterable[nn.Module]:
        """Its layers."""
        return self.model.layers

    def forward(self) -> Tensor:
        """Logits of all tokens (b, t, v)."""
        return self.model(self.tokens)

    def loss(self, made: Tensor) -> Tensor:
        """The cross-entropy of the logits."""
        return F.cross_entropy(made.flatten(0, 1), self.targets.flatten())


def _generator(device: str) -> torch.Generator:
    """What a device's random numbers come from."""
    place = torch.device(device)
    if place.type != "cuda":
        return torch.default_generator
    return torch.cuda.default_generators[torch.cuda.current_device() if place.index is None else place.index]
