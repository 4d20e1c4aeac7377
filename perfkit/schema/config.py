"""RunConfig: what is measured and how. The single source of the CLI flags, the Python API and the saved record."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from cyclopts import Group, Parameter, Token

from perfkit.errors import UsageError
from perfkit.schema import units

ModelSize = Literal["tiny", "small", "medium", "large", "xl", "2.7B", "10B"]
PassType = Literal["forward", "forward-backward", "train"]
Precision = Literal["fp32", "tf32", "bf16", "fp16"]
Attention = Literal["eager", "sdpa"]
SdpaBackend = Literal["auto", "flash", "efficient", "cudnn", "math"]
Optimizer = Literal["adamw", "adamw-foreach", "adamw-fused"]
CompileMode = Literal["off", "model", "block"]
AnnotateMode = Literal["auto", "on", "off"]
Profiler = Literal["none", "torch", "nsys"]
Switch = Literal["on", "off"]

_CHOICES: dict[str, tuple[str, ...]] = {
    "model_size": get_args(ModelSize),
    "attention": get_args(Attention),
    "sdpa_backend": get_args(SdpaBackend),
    "pass_type": get_args(PassType),
    "precision": get_args(Precision),
    "optimizer": get_args(Optimizer),
    "compile": get_args(CompileMode),
    "profiler": get_args(Profiler),
    "annotate": get_args(AnnotateMode),
    "gc": get_args(Switch),
}
"""Fields with a fixed set of values, checked here for Python callers (the command line checks them by itself)."""

_SIZE_LIMIT = 2**31
"""No size or count reaches this: beyond it PyTorch's arithmetic overflows instead of failing to allocate."""
_SEED_LIMIT = 2**63

_FEWEST_FOR_TARGET = 20
"""Simulated coverage of a 95% interval that was stopped at: 94.4 to 96.2% from 20 samples on, 92.0% from 5 on."""
_MOST_STEPS = 10_000
_MOST_SECONDS = 300.0

_SIZES_AND_COUNTS = (
    "d_model", "d_ff", "num_layers", "num_heads", "vocab_size", "batch_size", "context_length", "measure_steps",
    "num_threads", "max_steps",
)  # fmt: skip
"""Fields that are at least 1."""


def _ratio(_: object, tokens: Sequence[Token]) -> float:
    """`1%` or `0.01`, for cyclopts, which calls with the type and what was typed."""
    text = tokens[0].value
    try:
        return units.parse_percentage(text) if text.endswith("%") else float(text)
    except (ValueError, UsageError) as error:
        raise UsageError(f"--target-ci {text}: write it as 1% or 0.01") from error


_MODEL = Parameter(group=Group("Model", sort_key=1))
_STEP = Parameter(group=Group("Step", sort_key=2))
_MEASURE = Parameter(group=Group("Measurement", sort_key=3))


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The four numbers that fix a Transformer's size (with the vocabulary)."""

    d_model: int
    d_ff: int
    num_layers: int
    num_heads: int

    def parameters(self, vocab_size: int) -> int:
        """Trainable parameters of `workload.model.Transformer` (untied embedding and head, no biases).

        Per block 4 d^2 (q, k, v, output) + 3 d d_ff (SwiGLU) + 2 d (two RMSNorm gains); then 2 V d + d.
        """
        block = 4 * self.d_model**2 + 3 * self.d_model * self.d_ff + 2 * self.d_model
        return self.num_layers * block + 2 * vocab_size * self.d_model + self.d_model

    def __str__(self) -> str:
        return f"{self.d_model}/{self.d_ff}/{self.num_layers}/{self.num_heads}"


SIZES: dict[str, ModelShape] = {
    "tiny": ModelShape(128, 512, 4, 4),
    "small": ModelShape(768, 3072, 12, 12),
    "medium": ModelShape(1024, 4096, 24, 16),
    "large": ModelShape(1280, 5120, 36, 20),
    "xl": ModelShape(1600, 6400, 48, 25),
    # The name is historical: with SwiGLU's third matrix the shape has 3.41 B parameters.
    "2.7B": ModelShape(2560, 10240, 32, 32),
    "10B": ModelShape(4608, 12288, 50, 36),
}

_CONTEXT_LENGTH = {"tiny": 128}  # every other size: 512


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """One configuration to measure. `None` means "from the model size"; `resolved()` fills those in.

    Raises UsageError where a combination cannot work, before anything is allocated.
    """

    model_size: Annotated[ModelSize | None, _MODEL] = None
    """Shape of the Transformer; default: tiny on a CPU, small on a GPU."""
    d_model: Annotated[int | None, _MODEL] = None
    """Width of the residual stream; overrides the size's."""
    d_ff: Annotated[int | None, _MODEL] = None
    """Inner width of the SwiGLU MLP; overrides the size's."""
    num_layers: Annotated[int | None, _MODEL] = None
    """Number of blocks; overrides the size's."""
    num_heads: Annotated[int | None, _MODEL] = None
    """Attention heads; overrides the size's."""
    vocab_size: Annotated[int, _MODEL] = 10_000
    """Entries of the embedding and of the head."""
    attention: Annotated[Attention, _MODEL] = "eager"
    """eager: scores, softmax and weighted sum as operations of their own; sdpa: PyTorch's fused attention."""
    sdpa_backend: Annotated[SdpaBackend, _MODEL] = "auto"
    """Kernel family that --attention sdpa may use."""

    pass_type: Annotated[PassType, _STEP] = "forward-backward"
    """forward (no gradient), forward-backward (cross-entropy on random tokens), train (and an AdamW step)."""
    batch_size: Annotated[int, _STEP] = 4
    """Sequences per step."""
    context_length: Annotated[int | None, _STEP] = None
    """Tokens per sequence; default: 128 for tiny, else 512."""
    precision: Annotated[Precision, _STEP] = "fp32"
    """fp32; tf32 (fp32 with TensorFloat-32 matmuls); bf16 or fp16 autocast (fp16 with a gradient scaler)."""
    optimizer: Annotated[Optimizer, _STEP] = "adamw"
    """For --pass-type train: PyTorch's own choice of implementation, or the foreach or fused one."""
    compile: Annotated[CompileMode, _STEP] = "off"
    """torch.compile: off, the whole model, or block by block (which keeps block names in a profile)."""
    checkpoint: Annotated[bool, _STEP] = False
    """Recompute each block's activations in backward instead of keeping them."""
    seed: Annotated[int, _STEP] = 0
    """Seed of the weights and the tokens."""
    device: Annotated[str, _STEP] = "auto"
    """auto, cpu, cuda or cuda:N."""
    num_threads: Annotated[int | None, _STEP] = None
    """Threads PyTorch uses inside one CPU operation; default: PyTorch's own choice."""

    warmup_steps: Annotated[int, _MEASURE] = 5
    """Steps before measuring, kept and shown separately; obeyed exactly."""
    measure_steps: Annotated[int, _MEASURE] = 10
    """Steps to measure; obeyed exactly (with --target-ci: the fewest, and never below 20)."""
    target_ci: Annotated[float | None, _MEASURE, Parameter(name=("--target-ci", "--target-cv"), converter=_ratio)] = (
        None
    )
    """Measure until the mean's 95% interval is within 1% (or 0.01) of it; --target-cv is another name for it."""
    max_time: Annotated[float | None, _MEASURE] = None
    """With --target-ci: start no further step after this many seconds of measured steps; default: 300."""
    max_steps: Annotated[int | None, _MEASURE] = None
    """With --target-ci: measure at most this many steps; default: 10000."""
    profiler: Annotated[Profiler, _MEASURE] = "none"
    """none: plain timing; torch, nsys: the measured steps under torch.profiler or Nsight Systems, with tables."""
    profile_stack: Annotated[bool, _MEASURE] = False
    """Record Python stacks too (--profiler torch): larger trace, slower steps."""
    experimental_provenance: Annotated[bool, _MEASURE] = False
    """Compiled kernels by the modules they come from (--compile, --profiler torch); compiles anew, by private APIs."""
    annotate: Annotated[AnnotateMode, _MEASURE] = "auto"
    """Ranges named by module; auto: on when something records them (a profiler, nsys), else off."""
    autograd_nvtx: Annotated[bool, _MEASURE] = False
    """Autograd's own NVTX ranges round every operator, for nsys on a GPU: a second, costlier account of backward."""
    gc: Annotated[Switch, _MEASURE] = "off"
    """off: Python's garbage is collected and frozen before the loop and not collected in it; on: left alone."""

    def __post_init__(self) -> None:
        self._check_choices()
        self._check_ranges()
        self._check_combinations()

    def _check_choices(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value is not None and value not in choices:
                raise UsageError(f"{_flag(name)} {value}: choose from {', '.join(choices)}")

    def _check_ranges(self) -> None:
        for name in _SIZES_AND_COUNTS:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{_flag(name)} {value}: must be at least 1")
            if value is not None and value >= _SIZE_LIMIT:
                raise UsageError(f"{_flag(name)} {value}: must be below {_SIZE_LIMIT}")
        if not 0 <= self.warmup_steps < _SIZE_LIMIT:
            raise UsageError(f"--warmup-steps {self.warmup_steps}: must be 0 or more, and below {_SIZE_LIMIT}")
        if not 0 <= self.seed < _SEED_LIMIT:
            raise UsageError(f"--seed {self.seed}: must be 0 or more, and below 2^63")
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise UsageError(f"--device {self.device}: choose auto, cpu, cuda or cuda:N")

    def _check_combinations(self) -> None:
        if self.sdpa_backend != "auto" and self.attention != "sdpa":
            raise UsageError(f"--sdpa-backend {self.sdpa_backend} needs --attention sdpa")
        if self.optimizer != "adamw" and self.pass_type != "train":
            raise UsageError(
                f"--optimizer {self.optimizer} needs --pass-type train: no other pass has an optimizer step"
            )
        if self.checkpoint and self.pass_type == "forward":
            raise UsageError("--checkpoint needs a backward pass: choose --pass-type forward-backward or train")
        if self.profile_stack and self.profiler != "torch":
            raise UsageError("--profile-stack needs --profiler torch")
        self._check_target()
        if self.experimental_provenance:
            self._check_provenance()
        if self.autograd_nvtx and self.profiler == "torch":
            raise UsageError("--autograd-nvtx is for Nsight Systems: --profiler torch sees the operators itself")
        if self.device == "cpu":
            self._check_cpu()
        d_model, heads = self.d_model, self.num_heads
        if self.model_size is not None:
            d_model, heads = self.shape.d_model, self.shape.num_heads
        if d_model is not None and heads is not None:
            _check_heads(d_model, heads)

    def _check_target(self) -> None:
        if self.target_ci is None:
            for name in ("max_time", "max_steps"):
                if getattr(self, name) is not None:
                    raise UsageError(f"{_flag(name)} needs --target-ci: without it --measure-steps is obeyed exactly")
            return
        if not 0 < self.target_ci < 1:
            raise UsageError(f"--target-ci {self.target_ci}: must be above 0 and below 100%, as in 1% or 0.01")
        if self.max_time is not None and not 0 < self.max_time < math.inf:
            raise UsageError(f"--max-time {self.max_time}: must be above 0 seconds")
        if self.max_steps is not None and self.max_steps < self.fewest_steps:
            raise UsageError(f"--max-steps {self.max_steps}: --target-ci measures at least {self.fewest_steps} steps")
        if self.profiler != "none":
            raise UsageError(
                f"--target-ci needs plain steps: drop --profiler {self.profiler}, or choose --measure-steps"
            )

    def _check_provenance(self) -> None:
        if self.compile == "off":
            raise UsageError("--experimental-provenance needs --compile model or --compile block: nothing is compiled")
        if self.profiler != "torch":
            raise UsageError("--experimental-provenance needs --profiler torch: it is read with the trace")
        if self.annotate == "off":
            raise UsageError("--experimental-provenance needs module ranges: drop --annotate off")
        if self.warmup_steps == 0:
            raise UsageError(
                "--experimental-provenance needs --warmup-steps 1 or more: compilation ends before recording begins"
            )

    def _check_cpu(self) -> None:
        if self.precision == "tf32":
            raise UsageError("--precision tf32 exists on NVIDIA GPUs only: use --precision fp32 or bf16 on a CPU")
        if self.autograd_nvtx:
            raise UsageError("--autograd-nvtx needs a CUDA device: PyTorch writes these ranges in CUDA builds only")
        if self.sdpa_backend in ("efficient", "cudnn"):
            raise UsageError(
                f"--sdpa-backend {self.sdpa_backend} exists on GPUs only: use auto, flash or math on a CPU"
            )

    @property
    def shape(self) -> ModelShape:
        """The size's shape with this configuration's overrides. Needs `model_size`."""
        if self.model_size is None:
            raise UsageError("the model size is not chosen yet: pass --model-size, or call resolved() first")
        base = SIZES[self.model_size]
        overrides = {
            f.name: getattr(self, f.name) for f in dataclasses.fields(ModelShape) if getattr(self, f.name) is not None
        }
        return dataclasses.replace(base, **overrides)

    @property
    def parameters(self) -> int:
        """Trainable parameters of the resolved shape."""
        return self.shape.parameters(self.vocab_size)

    @property
    def fewest_steps(self) -> int:
        """Measured steps there are at least: below 20 the interval that --target-ci stops at covers too little."""
        return self.measure_steps if self.target_ci is None else max(self.measure_steps, _FEWEST_FOR_TARGET)

    @property
    def most_steps(self) -> int:
        """Measured steps there are at most."""
        return self.measure_steps if self.target_ci is None else self.max_steps or max(_MOST_STEPS, self.fewest_steps)

    @property
    def time_limit_s(self) -> float:
        """Seconds of measured steps after which none begins."""
        return math.inf if self.target_ci is None else self.max_time or _MOST_SECONDS

    @property
    def tokens_per_step(self) -> int:
        """batch x context. Needs a resolved configuration."""
        assert self.context_length is not None, "resolve the configuration first"
        return self.batch_size * self.context_length

    def flags(self) -> list[str]:
        """The command line that asks for this configuration: every field that differs from its default."""
        arguments: list[str] = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is True:
                arguments.append(_flag(field.name))
            elif value != field.default:
                arguments += [_flag(field.name), str(value)]
        return arguments

    def resolved(self, device: str) -> RunConfig:
        """The same configuration with nothing left to guess, for `device` ("cpu", "cuda" or "cuda:N")."""
        size = self.model_size or ("tiny" if device == "cpu" else "small")
        named = dataclasses.replace(self, model_size=size, device=device)
        return dataclasses.replace(
            named,
            **dataclasses.asdict(named.shape),
            context_length=self.context_length or _CONTEXT_LENGTH.get(size, 512),
        )


def _check_heads(d_model: int, heads: int) -> None:
    if d_model % heads:
        raise UsageError(f"--d-model {d_model} is not a multiple of --num-heads {heads}: change one of them")
    if (d_model // heads) % 2:
        raise UsageError(
            f"--d-model {d_model} / --num-heads {heads} gives heads of odd width {d_model // heads}; "
            "rotary embedding needs an even one"
        )


def _flag(field: str) -> str:
    return "--" + field.replace("_", "-")
