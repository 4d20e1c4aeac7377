"""`perfkit.profile`: steps of your own loop, observed as those of `perfkit run`, into a folder of the same kind."""

from __future__ import annotations

import itertools
import os
import re
import sys
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Unpack

import torch
import torch.distributed as dist
from torch import nn

import perfkit
from perfkit.errors import UsageError
from perfkit.measure.nsys import capture
from perfkit.measure.nsys.program import under_nsys
from perfkit.measure.own.cycle import Cycle
from perfkit.measure.own.schedule import Schedule, Steps
from perfkit.schema import module_tree
from perfkit.schema.config import RunConfig
from perfkit.schema.parts.measurement import Measurement
from perfkit.schema.parts.step import Step
from perfkit.schema.parts.workloads import Own
from perfkit.schema.printable import printable
from perfkit.schema.record import RunRecord

Models = nn.Module | Mapping[str, nn.Module] | Sequence[nn.Module]
Kind = Literal["none", "torch", "nsys", "memory"]
ENVIRONMENT = "PERFKIT_PROFILE"
"""Variable that switches profiles off: off, 0, no or false."""
_OFF = ("off", "0", "no", "false")
_NEVER_CALLED = (
    "perfkit: no measured step calls the model or a part right under it, so there is no phase forward: pass what the"
    " loop calls, of a compiled model the wrapper and not what is in it"
)
_EMPTY = (
    "perfkit: {} of {} measured steps look empty: no batch, no call of the model, no backward and no optimizer in them;"
    " every mean counts them: see that {} counts each step once"
)


class Report(Protocol):
    """What a profile has to say: `perfkit.report` of its folder."""

    def show(self, *tables: str, top: int | None = 20) -> None:
        """Print it."""


class Nothing:
    """The report of a profile that is off."""

    def show(self, *tables: str, top: int | None = 20) -> None:
        """Print nothing."""


class Profile:
    """An open profile: `step()` after each step of the loop; `report`, `record` and `folder` once it is closed."""

    _open: Profile | None = None
    """The one that is open in this process."""

    def __init__(
        self,
        model: nn.Module | None,
        folder: Path,
        config: RunConfig | None,
        schedule: Schedule,
        make: Callable[..., Cycle],
        rank: int | None = None,
    ) -> None:
        self.folder = folder
        """Where the record and the recording are; after several cycles, the folder of their folders."""
        self.records: list[RunRecord] = []
        """Of each cycle that is over."""
        self.counted_by = "p.step()"
        """Who counts the steps: it is named where there were too few."""
        self._model, self._config, self._schedule, self._make = model, config, schedule, make
        self._rank = rank
        self._cycle: Cycle | None = None
        self._steps = self._empty = 0
        self._entered = self._left = False
        self._thread = 0
        """The one that entered it: PyTorch's profiler crashes where another ends what it began."""

    def __enter__(self) -> Profile:
        if self._config is None:
            return self
        if self._entered:
            raise UsageError("a profile is entered once: call perfkit.profile again for another")
        if Profile._open is not None:
            raise UsageError(f"a profile is open already, in {Profile._open.folder}: leave it before the next")
        self._entered, self._thread = True, threading.get_ident()
        self.folder = _vacant(self.folder, "" if self._rank is None else f"rank_{self._rank}")
        Profile._open = self
        try:
            self.go_on()
        except BaseException:
            Profile._open = None
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._config is None or self._left:
            return
        self._left = True
        Profile._open = None
        try:
            self._end(None if isinstance(error, SystemExit | GeneratorExit) else error)
        except Exception as failed:
            if error is None:
                raise
            _tell(f"the profile could not be saved: {failed}")  # the loop's own error goes on
        if self.records:
            _tell(f"saved in {self.folder}")
            if error is None and self._was_never_called():
                warnings.warn(_NEVER_CALLED, RuntimeWarning, stacklevel=2)
            if error is None and 0 < self._empty < (count := sum(len(record.steps) for record in self.records)):
                warnings.warn(_EMPTY.format(self._empty, count, self.counted_by), RuntimeWarning, stacklevel=2)
            return
        _remove_empty(self.folder)
        if error is None:
            warnings.warn(self._why_empty(), RuntimeWarning, stacklevel=2)

    def step(self, *, go_on: bool = True) -> None:
        """The loop's step is over, and the next begins. After the last measured step it does nothing.

        With `go_on=False` none begins until `go_on` is called: what is done before it belongs to no step.
        """
        if self._config is None:
            return
        if not self._entered or self._left:
            raise UsageError("p.step() belongs into the body of `with perfkit.profile(...) as p:`")
        if threading.get_ident() != self._thread:
            raise UsageError("p.step() is called on another thread than the `with`: open the profile where you train")
        self._steps += 1
        if self._cycle is not None and not self._cycle.step(go_on=go_on):
            self._end(None)
        if go_on:
            self.go_on()

    def go_on(self) -> None:
        """The next step begins, where none is under way."""
        if self._cycle is not None:
            self._cycle.go_on()
        elif self._config is not None and not self.done and self._steps >= self._schedule.wait:
            folder = self.folder
            if self._schedule.repeat > 1:
                folder = folder / f"cycle_{len(self.records) + 1}"
                folder.mkdir()
            self._cycle = self._make(self._config, folder, self._model)

    def phase(self, name: str) -> AbstractContextManager[None]:
        """The body is a phase of this name, whatever would be found in it. Raises UsageError for an unfit name."""
        if self._cycle is None:
            return nullcontext()
        if not re.fullmatch(r"[\w .-]{1,80}", name):
            raise UsageError(f"phase {name!r}: name it with letters, digits, blanks and . - _")
        return self._cycle.phase(name)

    @property
    def is_watching(self) -> bool:
        """Whether hooks are in place: from the first warm-up step of a cycle to its last measured one."""
        return self._cycle is not None

    @property
    def done(self) -> bool:
        """Whether all that the schedule asks for is measured, so that a loop may end."""
        return self._config is None or len(self.records) >= self._schedule.repeat

    @property
    def record(self) -> RunRecord:
        """The record of the first cycle. Raises UsageError where no step was measured."""
        if not self.records:
            raise UsageError(self._why_empty())
        return self.records[0]

    @property
    def report(self) -> Report:
        """What there is to say, as `perfkit.report` of the folder. Raises UsageError where nothing was measured."""
        if self._config is None:
            return Nothing()
        if not self.records:
            raise UsageError(self._why_empty())
        if self._cycle is not None:
            raise UsageError("the profile goes on: read its report after the `with`, or when p.done")
        return perfkit.report(self.folder)

    def _end(self, error: BaseException | None) -> None:
        cycle, self._cycle = self._cycle, None
        if cycle is not None and (record := cycle.end(error)) is not None:
            self.records.append(record)
            self._empty += cycle.empty

    def _was_never_called(self) -> bool:
        """Whether the loop trains something, and it is not what the profile was given."""
        found = {name for record in self.records for sample in record.steps for name in sample.phases_s}
        scripted = self._model is not None and scripts_in(self._model)
        return "backward" in found and "forward" not in found and not scripted

    def _why_empty(self) -> str:
        steps = "1 step" if self._steps == 1 else f"{self._steps} steps"
        return (
            f"no step was measured: {self.counted_by} counted {steps}, and the first to be measured is step"
            f" {self._schedule.first}: make more steps, or choose fewer wait and warmup steps"
        )


def profile(
    model: Models,
    folder: str | os.PathLike[str] = "traces/profile",
    *,
    profiler: Kind | None = None,
    name: str | None = None,
    device: str | None = None,
    enabled: bool = True,
    make: Callable[..., Cycle] = Cycle,
    rank: int | None = None,
    **steps: Unpack[Steps],
) -> Profile:
    """Observe steps of your own loop: `with perfkit.profile(model, "traces/my-run") as p:` and `p.step()` after each.

    `model`: the module, or several by name (`{"G": G, "D": D}`) or in a list, which go by their classes' names.
    `folder`: where the record and the recording go, as those of `perfkit run`; one that is taken gets a number.
    `profiler`: none, torch, memory or nsys, as of `perfkit run`; by default torch, and nsys in a process that runs
    under `nsys profile`. `wait` steps (0) are left alone, then `repeat` times (1) `warmup` steps (1) warm up and
    `active` steps (5) are measured. `name`: in reports, by default the class's. `device`: by default that of the first
    parameter. With `enabled=False`, or PERFKIT_PROFILE=off in the environment, nothing happens at all. `make` is for
    tests. `rank`: this process's of several, each of which writes into `rank_N` in the folder; by default that of
    torch.distributed's process group, unless the folder's path names it already.

    Raises UsageError where nothing would be measured, or it cannot be.
    """
    schedule = Schedule(**steps)
    if not enabled or os.environ.get(ENVIRONMENT, "").lower() in _OFF:
        return Profile(None, Path(folder), None, schedule, make)
    whole = one_module(model)
    chosen = _profiler(profiler)
    where = device or device_of(whole)
    config = RunConfig(
        workload=Own(name=name or _name_of(model, whole)),
        step=Step(device=where),
        measurement=Measurement(
            warmup_steps=schedule.warmup, measure_steps=schedule.active, gc="on", profiler=chosen,
        ),
    )  # fmt: skip
    for line in capture.advice(where, capture.call()):
        _tell(line)
    if scripted := scripts_in(whole):
        names = ", ".join(scripted[:3]) + (f" and {len(scripted) - 3} more" if len(scripted) > 3 else "")
        warnings.warn(f"perfkit: scripted modules are left alone, their time is their caller's: {names}", stacklevel=2)
    place = _rank_of(Path(folder)) if rank is None else rank
    return Profile(whole, Path(folder), config, schedule, make, place)


def _rank_of(folder: Path) -> int | None:
    """This process's rank of several, which `folder` does not name; else None."""
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return None
    rank = dist.get_rank()
    return None if re.search(rf"(?<![A-Za-z])rank[-_. ]?0*{rank}(?!\d)", str(folder)) else rank


def scripts_in(model: nn.Module) -> list[str]:
    """Paths of the outermost TorchScript modules, which take no hooks."""
    found: list[str] = []
    for path, module in model.named_modules():
        inside = any(path.startswith(f"{outer}.") or not outer for outer in found)
        if isinstance(module, torch.jit.ScriptModule) and not inside:
            found.append(path)
    return [path or "the model" for path in found]


def one_module(model: object) -> nn.Module:
    """Several models as one that holds them, so that the names of their modules begin with theirs."""
    if isinstance(model, nn.Module):
        return model
    if isinstance(model, Mapping):
        named = dict(model)
    elif isinstance(model, Sequence) and not isinstance(model, str):
        named = {}
        for one in model:
            kind = type(one).__name__
            count = sum(re.fullmatch(rf"{kind}(_\d+)?", known) is not None for known in named)
            named[f"{kind}_{count + 1}" if count else kind] = one
    else:
        named = {"": model}
    for key, one in named.items():
        if not isinstance(one, nn.Module):
            raise UsageError(
                f"perfkit.profile wants a torch.nn.Module, or several, not {type(one).__name__}: pass the model"
            )
        if not isinstance(key, str) or not re.fullmatch(r"\w+", key):
            raise UsageError(f"the model's name {key!r}: letters, digits and _ alone")
    if not named:
        raise UsageError("perfkit.profile got no model: pass one, or several")
    try:
        return nn.ModuleDict(named)
    except KeyError as error:
        raise UsageError(f"{error.args[0]}: choose other names for the models") from error


def _name_of(model: Models, whole: nn.Module) -> str:
    if model is whole:
        inner = getattr(whole, "_orig_mod", whole)
        return type(inner).__name__
    return " and ".join(name for name, _ in whole.named_children())


def device_of(model: nn.Module) -> str:
    """The device of its first parameter, else buffer: cpu, cuda or cuda:N. Raises UsageError for any other."""
    first = next(itertools.chain(model.parameters(), model.buffers()), None)
    device = torch.device("cpu") if first is None else first.device
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"the model is on {device}, and perfkit measures cpu and cuda: move it, or pass device=")
    return str(device)


def _profiler(wanted: str | None) -> Literal["none", "torch", "memory"]:
    """The profiler of the configuration: under nsys the process's own is none."""
    if wanted not in (None, "none", "torch", "nsys", "memory"):
        raise UsageError(f"profiler={wanted!r}: choose from none, torch, nsys, memory")
    nsys = under_nsys()
    if wanted == "nsys" and not nsys:
        raise UsageError(
            'profiler="nsys" needs nsys round the whole script: start it as `nsys profile python script.py`, and'
            " perfkit names the options"
        )
    if wanted in (None, "nsys"):
        return "none" if nsys else "torch"
    if wanted == "torch" and nsys:
        raise UsageError('profiler="torch" cannot run under nsys: leave it out, and perfkit marks the steps for nsys')
    return wanted  # type: ignore[return-value]


def _vacant(folder: Path, own: str = "") -> Path:
    """The folder, made, or `own` in it; where that holds something already, of the folder's name and the next number.

    So ranks that write as often as each other do so in folders of the same names, without asking each other.
    """
    for attempt in range(1, 1000):
        place = (folder if attempt == 1 else folder.with_name(f"{folder.name}_{attempt}")) / own
        try:
            place.mkdir(parents=True, exist_ok=True)
            if not any(place.iterdir()):
                return place
        except OSError as error:
            raise UsageError(f"{place}: {error.strerror}; choose another folder") from error
    raise UsageError(f"{folder}: 1000 folders of this name hold something; choose another folder")


def _remove_empty(folder: Path) -> None:
    """Remove a folder of a profile that has nothing to say: the tree of modules in it, and those of its cycles."""
    for place in (*folder.glob("cycle_*"), folder):
        (place / module_tree.FILE).unlink(missing_ok=True)
        with suppress(OSError):
            place.rmdir()


def _tell(line: str) -> None:
    sys.stderr.write(f"perfkit: {printable(line)}\n")
