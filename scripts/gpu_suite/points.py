"""What scripts/gpu-suite runs, the most valuable first. To add a case, add a line to POINTS.

Three helpers make points: `runs` (one `perfkit run` for every combination of flags), `profiled` (the same under
torch.profiler or, with profiler="nsys", Nsight Systems; on two layers and few steps, so that a trace stays below 1 MB)
and `command` (anything else that exits with 0 when all is well: tests, a memory snapshot, an oracle). Where there is
no nsys, runs under it are refused within a second. A run that appears twice keeps its first place.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

Flag = str | int | bool
Flags = dict[str, Flag]

START_S = 10.0
"""Expected seconds of a fresh process that measures 15 quick steps: nearly all of it is starting PyTorch and CUDA.
This is a guess, like the next three; the suite corrects them by the times of its first points."""
COMPILE_S = 45.0
NSYS_S = 15.0
LARGE_S = {"large": 3.0, "xl": 8.0, "2.7B": 14.0, "10B": 20.0}
"""Expected seconds in addition to START_S, by size."""
ALLOWANCE = 4.0
"""A point is stopped when it has taken this many times its expected time."""

REHEARSAL: Flags = {
    "model_size": "tiny",
    "device": "cpu",
    "d_model": 32,
    "d_ff": 64,
    "num_layers": 1,
    "num_heads": 2,
    "vocab_size": 64,
    "batch_size": 1,
    "context_length": 8,
    "warmup_steps": 1,
    "measure_steps": 2,
    "num_threads": 1,
}
"""Flags that every run gets under --cpu-rehearsal; its other flags stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One thing to run, in a fresh process."""

    name: str
    expected_s: float
    flags: Flags | None = None
    """Flags of `perfkit run`; None for a command."""
    command: tuple[str, ...] = ()
    """The command's arguments; {python} and {folder} (the point's own folder, for its output) are filled in."""
    fine: tuple[int, ...] = (0,)
    """Exit codes that mean success."""
    reserved: bool = False
    """Runs last, and its time is kept for it."""

    def argv(self, folder: str, *, rehearsal: bool = False) -> list[str]:
        """The command line, to be run in the repository's root."""
        flags = self.used_flags(rehearsal=rehearsal)
        if flags is None:
            return [part.format(python=sys.executable, folder=folder) for part in self.command]
        files = ["--traces-dir", folder, "--output", f"{folder}/result.json"]
        quick = ["--overhead", "off"] if rehearsal else []
        return [sys.executable, "-m", "perfkit.run", *_as_arguments(flags), *files, *quick]

    def used_flags(self, *, rehearsal: bool = False) -> Flags | None:
        """The flags that the point gives to `perfkit run`."""
        return self.flags | REHEARSAL if self.flags is not None and rehearsal else self.flags

    @property
    def profiled(self) -> bool:
        """Whether the point writes a trace."""
        return self.flags is not None and "profiler" in self.flags


def _as_arguments(flags: Flags) -> list[str]:
    arguments = []
    for key, value in flags.items():
        option = f"--{key.replace('_', '-')}"
        arguments += [option] if value is True else [option, str(value)]
    return arguments


_NAMED_WITH: dict[str, str] = {
    "context_length": "t{}",
    "compile": "compile-{}",
    "compile_mode": "{}",
    "checkpoint": "checkpoint",
    "num_layers": "{}-layers",
    "annotate": "annotate-{}",
    "warmup_steps": "warmup-{}",
    "measure_steps": "{}-steps",
}
_PROFILED: Flags = {"model_size": "small", "num_layers": 2, "warmup_steps": 2, "measure_steps": 2, "profiler": "torch"}
_DEFAULTS: Flags = {"precision": "fp32", "attention": "eager", "compile": "off", "checkpoint": False}
_SHORT = {"forward-backward": "fwd-bwd", "forward": "fwd"}


def _name(flags: Flags) -> str:
    """A point's name: size, pass, then the other flags; an attention backend is named without its flag."""
    is_profiled = "profiler" in flags
    parts = ["profiled"] if is_profiled else []
    for key, value in flags.items():
        told_by_backend = key == "attention" and "sdpa_backend" in flags
        if not told_by_backend and not (is_profiled and _PROFILED.get(key) == value):
            parts.append(_NAMED_WITH.get(key, "{}").format(_SHORT.get(str(value), value)))
    return "_".join(parts)


def _expected(flags: Flags) -> float:
    size = str(flags.get("model_size"))
    compiling = COMPILE_S if flags.get("compile", "off") != "off" else 0.0
    exporting = NSYS_S if flags.get("profiler") == "nsys" else 0.0
    return START_S + LARGE_S.get(size, 0.0) + compiling + exporting


def runs(**flags: Flag | tuple[Flag, ...]) -> Iterator[Point]:
    """A run for every combination of the values given; the first flag varies slowest."""
    values = [value if isinstance(value, tuple) else (value,) for value in flags.values()]
    for combination in product(*values):
        pairs = zip(flags, combination, strict=True)
        chosen = {key: value for key, value in pairs if _DEFAULTS.get(key) != value}
        yield Point(name=_name(chosen), flags=chosen, expected_s=_expected(chosen))


def profiled(**flags: Flag | tuple[Flag, ...]) -> Iterator[Point]:
    """Runs of two layers under a profiler, torch.profiler unless another is named: two measured steps."""
    return runs(**(_PROFILED | flags))


def command(name: str, expected_s: float, *argv: str, fine: tuple[int, ...] = (0,), reserved: bool = False) -> Point:
    """A point that is not a `perfkit run`."""
    return Point(name=name, command=argv, expected_s=expected_s, fine=fine, reserved=reserved)


_PASSES = ("forward", "forward-backward", "train")
_ALL_SIZES = ("small", "medium", "large", "xl", "2.7B", "10B")
_BOTH = "forward-backward"
_NO_TESTS_COLLECTED = 5

_ORDERED: tuple[Iterable[Point], ...] = (
    # Whether perfkit works at all: the default run, the doctor, a first trace of everything a training step does.
    runs(model_size="small", pass_type=_BOTH),
    [command("doctor", 10, "{python}", "-m", "perfkit", "doctor")],
    profiled(pass_type="train"),
    # The table that everyone asks for first; a size that runs out of memory (10B, on most GPUs) is a row too.
    runs(model_size="small", pass_type=("forward", "train")),
    runs(model_size=("medium", "large", "xl", "2.7B", "10B"), pass_type=_BOTH),
    # The usual ways to make a step faster.
    runs(model_size=("small", "medium", "large"), pass_type=_BOTH, precision="bf16"),
    runs(model_size=("small", "medium"), pass_type=_BOTH, precision="bf16", attention="sdpa"),
    # One trace of each way in which kernels come about. The points below reuse Inductor's cache of compiled code.
    profiled(pass_type=_BOTH, precision="bf16", attention="sdpa"),
    profiled(pass_type=_BOTH, checkpoint=True),
    profiled(pass_type=_BOTH, precision="bf16", compile="block"),
    profiled(pass_type="train", precision="fp16", optimizer="adamw-fused"),
    profiled(pass_type="forward"),
    profiled(profiler="nsys", pass_type="train"),
    profiled(profiler="nsys", pass_type=_BOTH, precision="bf16", attention="sdpa"),
    runs(model_size="small", pass_type=_BOTH, precision="bf16", compile="block"),
    profiled(pass_type=_BOTH, precision="bf16", compile="model"),
    # The other precisions.
    runs(model_size=("small", "medium", "large"), pass_type=_BOTH, precision=("tf32", "fp16")),
    runs(model_size="large", pass_type=_BOTH, precision="bf16", attention="sdpa"),
    runs(model_size="small", pass_type=_BOTH, precision="bf16", compile="model"),
    runs(model_size="small", pass_type=_BOTH, compile="model", compile_mode="reduce-overhead"),
    # Memory: checkpointing, the optimizer's state.
    runs(model_size=("medium", "large"), pass_type=_BOTH, precision="bf16", checkpoint=True),
    runs(model_size=("medium", "large", "xl"), pass_type="train"),
    runs(model_size="medium", pass_type=_BOTH, checkpoint=True),
    # What perfkit itself costs, and what warm-up does.
    runs(model_size="small", pass_type=_BOTH, precision="bf16", annotate="on"),
    runs(model_size="small", pass_type=_BOTH, warmup_steps=(0, 1, 2)),
    # Every question of `perfkit study` at the size that a GPU has by default.
    [
        command(
            "study", 300, "{python}", "-m", "perfkit", "study", "all", "--budget", "4m", "--output", "{folder}/study"
        )
    ],
    # The rest of each axis.
    runs(
        model_size="small", pass_type=_BOTH, precision="bf16", attention="sdpa",
        sdpa_backend=("flash", "efficient", "cudnn", "math"),
    ),
    runs(model_size="small", pass_type="train", optimizer=("adamw-foreach", "adamw-fused")),
    runs(model_size="small", pass_type=_BOTH, context_length=(128, 256, 1024, 2048)),
    runs(model_size="medium", pass_type=_BOTH, precision="bf16", compile=("block", "model")),
    runs(model_size=("xl", "2.7B"), pass_type=_BOTH, precision="bf16", attention=("eager", "sdpa")),
    profiled(num_layers=12, pass_type="train", precision="bf16", measure_steps=1),
    # Everything else, as far as the time allows.
    runs(model_size=_ALL_SIZES, pass_type=_PASSES, precision=("fp32", "bf16"), attention=("eager", "sdpa")),
    runs(model_size=_ALL_SIZES, pass_type=_PASSES, precision="bf16", attention="sdpa", compile=("block", "model")),
    # The tests, whose time is reserved.
    [
        command(
            "pytest-gpu", 75, "{python}", "-m", "pytest", "-m", "gpu", "-rA", "-p", "no:cacheprovider",
            "--junitxml={folder}/junit.xml", fine=(0, _NO_TESTS_COLLECTED), reserved=True,
        )
    ],
)  # fmt: skip


def _first_of_each(groups: Iterable[Iterable[Point]]) -> tuple[Point, ...]:
    points: dict[str, Point] = {}
    for group in groups:
        for point in group:
            points.setdefault(point.name, point)
    return tuple(points.values())


POINTS = _first_of_each(_ORDERED)
