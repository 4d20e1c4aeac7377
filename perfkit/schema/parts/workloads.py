"""What a run measures: perfkit's own Transformer, or a workload of the caller's own.

Both are Structs, because msgspec can only tell Structs apart in a union; in a record it uses `kind`.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

import msgspec

from perfkit.errors import UsageError
from perfkit.schema.parts.checks import check_choices, check_counts

ModelSize = Literal["tiny", "small", "medium", "large", "xl", "2.7B", "10B"]
Attention = Literal["eager", "sdpa"]
SdpaBackend = Literal["auto", "flash", "efficient", "cudnn", "math"]
Applied = Literal[
    "channels-last", "float32", "no-anomaly", "no-checkpointing", "pin-memory", "sdpa",
    "workers-2", "workers-4", "workers-8",
]  # fmt: skip
"""Changes of a model from outside: what each does is in `workload/changes.py`."""

_CHOICES = {
    "model_size": get_args(ModelSize),
    "attention": get_args(Attention),
    "sdpa_backend": get_args(SdpaBackend),
}


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


class Transformer(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="transformer"):
    """perfkit's own model. `None` means "from the size"."""

    model_size: ModelSize | None = None
    """Size of the Transformer; default: tiny on a CPU, small on a GPU."""
    d_model: int | None = None
    """Width of the residual stream; overrides --model-size."""
    d_ff: int | None = None
    """Inner width of the SwiGLU MLP; overrides --model-size."""
    num_layers: int | None = None
    """Number of blocks; overrides --model-size."""
    num_heads: int | None = None
    """Number of attention heads; overrides --model-size."""
    vocab_size: int = 10_000
    """Vocabulary size of the embedding and the head."""
    attention: Attention = "eager"
    """eager: scores, softmax and weighted sum as separate operations; sdpa: PyTorch's fused attention."""
    sdpa_backend: SdpaBackend = "auto"
    """Backend that --attention sdpa may use; auto: PyTorch chooses."""

    def __post_init__(self) -> None:
        check_choices(self, _CHOICES)
        check_counts(self, ("d_model", "d_ff", "num_layers", "num_heads", "vocab_size"))
        if self.sdpa_backend != "auto" and self.attention != "sdpa":
            raise UsageError(f"--sdpa-backend {self.sdpa_backend} needs --attention sdpa")
        d_model, heads = self.d_model, self.num_heads
        if self.model_size is not None:
            d_model, heads = self.shape.d_model, self.shape.num_heads
        if d_model is not None and heads is not None:
            _check_heads(d_model, heads)

    @property
    def name(self) -> str:
        """The size's name, for reports and folder names."""
        return self.model_size or "default"

    @property
    def shape(self) -> ModelShape:
        """The size's shape with the overrides. Raises UsageError without a `model_size`."""
        if self.model_size is None:
            raise UsageError("the model size is not set: pass --model-size, or call resolved() first")
        numbers = {field.name: getattr(self, field.name) for field in dataclasses.fields(ModelShape)}
        overrides = {name: number for name, number in numbers.items() if number is not None}
        return dataclasses.replace(SIZES[self.model_size], **overrides)

    @property
    def parameters(self) -> int:
        """Trainable parameters of the shape. Raises UsageError without a `model_size`."""
        return self.shape.parameters(self.vocab_size)

    def resolved(self, device: str) -> Transformer:
        """The same model with its size and all numbers of its shape, for `device` ("cpu", "cuda" or "cuda:N")."""
        named = msgspec.structs.replace(self, model_size=self.model_size or ("tiny" if device == "cpu" else "small"))
        return msgspec.structs.replace(named, **dataclasses.asdict(named.shape))


class Own(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="own"):
    """A workload of the caller's own: passed to `measure.runner.run` beside the configuration, or named by `model`."""

    name: str
    """Its name in reports, in place of a Transformer's size; one line."""
    model: str | None = None
    """The callable that builds it, as `package.module:callable`; None for one that no command line can name."""
    model_arg: tuple[str, ...] = ()
    """Arguments of the callable, as `name=value`."""
    input: str | None = None
    """The callable that returns a batch or a DataLoader, and a loss if it likes, as `package.module:callable`."""
    input_arg: tuple[str, ...] = ()
    """Arguments of that callable, as `name=value`."""
    apply: tuple[Applied, ...] = ()
    """Changes of the model and its batch, from outside: `workload/changes.py`."""

    def __post_init__(self) -> None:
        if not self.name.strip() or not self.name.isprintable():
            raise UsageError(f"the workload's name {self.name!r} must be one line of printable text")
        for what, spec in (("--model", self.model), ("--input", self.input)):
            if spec is not None and not re.fullmatch(r"[\w.]+:[\w.]+", spec):
                raise UsageError(f"{what} {spec}: name a callable as package.module:callable")
        if (self.model is None) != (self.input is None):
            missing, given = (
                ("--input", f"--model {self.model}") if self.model else ("--model", f"--input {self.input}")
            )
            raise UsageError(f"{given} needs {missing} package.module:callable, {_RETURNS[missing]}")
        for what, arguments in (("--model-arg", self.model_arg), ("--input-arg", self.input_arg)):
            if arguments and self.model is None:
                raise UsageError(f"{what} {arguments[0]} needs --model and --input: it is an argument of theirs")
            _check_arguments(what, arguments)
        if unknown := next((name for name in self.apply if name not in get_args(Applied)), None):
            raise UsageError(f"--apply {unknown}: choose from {', '.join(get_args(Applied))}")
        if self.apply and self.model is None:
            raise UsageError(f"--apply {' '.join(self.apply)} needs --model: it changes what that callable returns")

    def flags(self) -> list[str]:
        """The command line that names it. Raises UsageError where none can."""
        if self.model is None or self.input is None:
            raise UsageError(
                f"{self.name}: a workload of your own, of which perfkit knows neither shape nor flags: "
                "pass it to measure.runner.run, or configure a Transformer"
            )
        arguments = ["--model-arg", *self.model_arg] if self.model_arg else []
        of_input = ["--input-arg", *self.input_arg] if self.input_arg else []
        applied = ["--apply", *self.apply] if self.apply else []
        return ["--model", self.model, *arguments, "--input", self.input, *of_input, *applied]


_RETURNS = {
    "--model": "which returns the module",
    "--input": "which returns a batch: a tensor, a tuple of arguments or a dictionary of them; or a DataLoader",
}


def arguments_of(texts: tuple[str, ...]) -> dict[str, Any]:
    """`("hidden=512", "act=gelu")` as names and values: a Python literal where it is one, else the text."""
    return {name: _literal(value) for name, _, value in (text.partition("=") for text in texts)}


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _check_arguments(what: str, arguments: tuple[str, ...]) -> None:
    names = []
    for argument in arguments:
        name, mark, _ = argument.partition("=")
        if not mark or not name.isidentifier():
            raise UsageError(f"{what} {argument}: write it as name=value")
        names.append(name)
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"{what} {twice} is given twice: leave one out")


def _check_heads(d_model: int, heads: int) -> None:
    if d_model % heads:
        raise UsageError(f"--d-model {d_model} is not a multiple of --num-heads {heads}: change one of them")
    if (d_model // heads) % 2:
        raise UsageError(
            f"--d-model {d_model} / --num-heads {heads} gives heads of odd width {d_model // heads}; "
            "rotary embedding needs an even width: change one of them"
        )
