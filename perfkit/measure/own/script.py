"""Somebody's script, unedited: its modules and steps are found while it runs in this process.

Until its first optimizer step the script is only watched: a global hook sees which modules are called outermost. From
then on it is a cycle as of `perfkit.profile`. A step ends with the first thing found after the optimizer's step: a
batch, zero_grad, a forward; so what follows the optimizer (a scheduler, a log) is still its own. Of several optimizers,
as of a GAN, each has stepped before the cycle begins, if none of them steps twice by then; the last one ends a step.
One that had not stepped by then and updates its parameters takes its place, as where a script builds it anew.
"""

from __future__ import annotations

import atexit
import functools
import os
import runpy
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn
from weakref import WeakKeyDictionary, WeakSet, ref

import torch
from torch import nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_module_registration_hook,
)
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook
from torch.utils.data.dataloader import _BaseDataLoaderIter
from torch.utils.weak import WeakIdKeyDictionary

from perfkit.errors import UsageError
from perfkit.measure.loop import Observer
from perfkit.measure.own.cycle import Cycle
from perfkit.measure.own.found_phases import OUTSIDE, wrapped
from perfkit.measure.own.profile import device_of, one_module
from perfkit.schema.config import RunConfig
from perfkit.schema.record import RunRecord


class Enough(BaseException):
    """All steps are measured, and the script was to be stopped then."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a script ended, and what was measured of it."""

    exit_code: int
    record: RunRecord | None
    steps: int
    """Of its optimizer; of several, of the one that ends a step."""
    shown: int = 1
    """How many of them were over before the first that is measured or warms up."""
    elsewhere: bool = False
    """Whether an optimizer stepped in another thread than the script's own, which is not counted."""


class Script:
    """Watches the body of a `with`: finds modules and steps, and observes them as `configure` says.

    `configure` makes the configuration, for a device; `more` are observers beside perfkit's own.
    """

    def __init__(
        self, configure: Callable[[str], RunConfig], folder: Path, more: Sequence[Observer] = (), *, stop_after: bool
    ) -> None:
        self.record: RunRecord | None = None
        self.steps = 0
        """Of the optimizers that end a step."""
        self.shown = 1
        self.elsewhere = False
        # A script may change its working directory: the folder stays where it was asked for.
        self._configure, self._folder, self._more, self._stop_after = configure, folder.absolute(), more, stop_after
        self._thread = threading.get_ident()
        self._process = os.getpid()
        self._inside = 0
        # What the script throws away is kept alive by none of these.
        self._called: WeakKeyDictionary[nn.Module, None] = WeakKeyDictionary()
        self._built: WeakSet[nn.Module] = WeakSet()
        """Modules that were given a part: one that `compile()` was called on tells no hook of its calls."""
        self._optimizer: ref[Optimizer] | None = None
        """The one that ends a step: while the script is watched, whichever stepped last."""
        self._steps: Any = WeakIdKeyDictionary()
        """Of each optimizer that was made while the script is watched, or has ended a step."""
        self._due = False
        self._cycle: Cycle | None = None
        self._undo: list[Callable[[], None]] = []
        self._watching: list[Callable[[], None]] = []

    def __enter__(self) -> Script:
        filters = warnings.catch_warnings()
        filters.__enter__()
        warnings.filterwarnings("ignore", ".* when there are global hooks on modules")  # perfkit's, not the script's
        self._undo = [
            lambda: filters.__exit__(None, None, None),
            register_optimizer_step_post_hook(self._stepped).remove,
        ]
        self._watching = [
            register_module_module_registration_hook(self._registered).remove,
            register_module_forward_pre_hook(self._entering).remove,
            register_module_forward_hook(self._left, always_call=True).remove,
            wrapped(Optimizer, "__init__", self._made),
            wrapped(Optimizer, "zero_grad", self._before),
            wrapped(_BaseDataLoaderIter, "__next__", self._before),
        ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_forked:
            return
        self._end(None if isinstance(error, SystemExit | Enough) else error)
        self._unwatch()
        while self._undo:
            self._undo.pop()()

    @property
    def is_forked(self) -> bool:
        """Whether this is a process that the script forked: its steps are not the script's, and nobody's record."""
        return os.getpid() != self._process

    def _made(self, function: Callable[..., Any], optimizer: Optimizer, *args: Any, **kwargs: Any) -> None:
        self._steps[optimizer] = 0
        function(optimizer, *args, **kwargs)

    def _stepped(self, optimizer: Optimizer, *_: Any) -> None:
        if torch.compiler.is_compiling():
            return
        if threading.get_ident() != self._thread:
            self.elsewhere = True
            return
        count = self._steps.get(optimizer, 0)
        ends = self._watching or optimizer is self._last() or (not count and self._replaces(optimizer))
        if ends:
            self._optimizer, self._due = ref(optimizer), True
            self._steps[optimizer] = count + 1
            self.steps = count + 1 if self._watching else self.steps + 1

    def _last(self) -> Optimizer | None:
        """The optimizer that ends a step, where the script still has it."""
        return self._optimizer() if self._optimizer else None

    def _replaces(self, optimizer: Optimizer) -> bool:
        """Whether it updates parameters of the one that ends a step, or that one is gone."""
        last = self._last()
        return last is None or not _updated(optimizer).isdisjoint(_updated(last))

    def _registered(self, module: nn.Module, *_: object) -> None:
        self._built.add(module)

    def _entering(self, module: nn.Module, _: object) -> None:
        if torch.compiler.is_compiling() or threading.get_ident() != self._thread:
            return
        if not self._inside:
            self._next_step()
            self._called[module] = None
        self._inside += 1

    def _left(self, *_: Any) -> None:
        if not torch.compiler.is_compiling() and threading.get_ident() == self._thread:
            self._inside = max(self._inside - 1, 0)

    def _before(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if not torch.compiler.is_compiling() and threading.get_ident() == self._thread:
            self._next_step()
        return function(*args, **kwargs)

    def _next_step(self) -> None:
        """The optimizer has stepped, and something new begins."""
        if not self._due or self.is_forked or torch._C._current_graph_task_id() >= 0:  # in backward: a hook has stepped
            return
        self._due = False
        if self._cycle is not None:
            if not self._cycle.step():
                self._end(None)
                if self._stop_after:
                    raise Enough
        elif self.record is None and self._all_stepped() and (model := self._model()) is not None:
            self._unwatch()
            self.shown = self.steps
            config = self._configure(device_of(model))
            self._cycle = Cycle(config, self._folder, model, self._more, first=OUTSIDE, between=self._next_step)

    def _all_stepped(self) -> bool:
        """Whether every optimizer has stepped; one that steps again, or is gone, is not kept waiting for others."""
        return self._last() is None or all(self._steps.values()) or max(self._steps.values()) > 1

    def _model(self) -> nn.Module | None:
        """The modules with parameters that were called outermost, or are compiled, as one; None without any.

        Not those on other devices than are measured, as a copy on `meta`.
        """
        compiled = (one for one in self._built if getattr(one, "_compiled_call_impl", None) is not None)
        called = [*self._called, *compiled]
        inner = {part for module in called for part in module.modules() if part is not module}
        outer = [(module, next(module.parameters(), None)) for module in called if module not in inner]
        roots = [module for module, first in outer if first is not None and first.device.type in ("cpu", "cuda")]
        if not roots:
            return None
        return roots[0] if len(roots) == 1 else one_module(roots)

    def _unwatch(self) -> None:
        while self._watching:
            self._watching.pop()()

    def _end(self, error: BaseException | None) -> None:
        cycle, self._cycle = self._cycle, None
        if cycle is not None:
            self.record = cycle.end(error)


def run(script: Script, path: str, arguments: Sequence[str], *, is_module: bool) -> Ended:
    """Run a script, or a module by its name, as `python` would, in the body of `script`; its exit code is kept.

    An exception of its own is printed as Python prints it, and the exit code is 1. KeyboardInterrupt goes on. Raises
    UsageError where there is no such script.
    """
    if not is_module and not Path(path).is_file():
        raise UsageError(f"{path}: there is no such script: name a file, or a module after -m")
    argv, search, here = sys.argv, list(sys.path), Path.cwd()
    sys.argv = [path, *arguments]
    sys.path.insert(0, "" if is_module else str(Path(path).resolve().parent))
    start = functools.partial(runpy.run_module, alter_sys=True) if is_module else runpy.run_path
    try:
        with script:
            start(path if is_module else str(Path(path).absolute()), run_name="__main__")  # as Python's `__file__` is
        code = 0
    except Enough:
        code = 0
    except SystemExit as asked:
        code = _code(asked)
    except Exception as error:  # whatever the script raises is shown as Python shows it
        if is_module and _is_of_runpy(error):
            raise UsageError(f"-m {path}: {error}") from error
        _show(error)
        code = 1
    finally:
        sys.argv, sys.path[:] = argv, search
        with suppress(FileNotFoundError):  # the script has removed it
            os.chdir(here)
    if script.is_forked:
        _leave(code)
    return Ended(code, script.record, script.steps, script.shown, script.elsewhere)


def _updated(optimizer: Optimizer) -> set[int]:
    return {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}


def _is_of_runpy(error: Exception) -> bool:
    """Whether there is no such module: what runpy says itself, before any line of a script."""
    raised = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        raised = frame.f_globals.get("__name__")
    return isinstance(error, ImportError) and raised == "runpy"


def _leave(code: int) -> NoReturn:
    """End a process that the script forked, as Python ends it: what follows the script here is its parent's."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _code(asked: SystemExit) -> int:
    """The exit code that Python makes of `sys.exit(...)`."""
    if asked.code is None or isinstance(asked.code, int):
        return asked.code or 0
    sys.stderr.write(f"{asked.code}\n")
    return 1


def _show(error: Exception) -> None:
    """Print a traceback from the script's own first line on; of a script that is no Python, its line alone."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__") != "__main__":
        trace = trace.tb_next
    traceback.print_exception(
        type(error), error, trace if trace or isinstance(error, SyntaxError) else error.__traceback__
    )
