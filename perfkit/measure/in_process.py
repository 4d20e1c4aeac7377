"""A sweep's point in this process: no start of Python and PyTorch, and no walls between points either."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from pathlib import Path

import torch

from perfkit import signals
from perfkit.errors import UsageError
from perfkit.launch.processes import Finished, Outcome
from perfkit.measure import memory, runner
from perfkit.measure.runner import Enough
from perfkit.schema.config import RunConfig
from perfkit.schema.record import RunRecord

_OUTCOMES: dict[str, Outcome] = {"ok": "ok", "oom": "oom", "interrupted": "interrupted"}


class _Silent:
    """The sweep shows its own progress."""

    def stage(self, name: str, steps: int = 0) -> None:
        """Nothing to show."""

    def advance(self) -> None:
        """Nothing to show."""


class Executor:
    """Runs configurations one after the other, and tidies up after each.

    `suggest` as for `runner.run`, and `rule` gives its `enough` for a configuration.
    """

    def __init__(
        self, suggest: memory.Suggest = lambda *_: (), rule: Callable[[RunConfig], Enough | None] = lambda _: None
    ) -> None:
        self._suggest = suggest
        self._rule = rule
        self._threads = torch.get_num_threads()

    def __call__(self, config: RunConfig, folder: Path) -> Finished:
        """Run one. Raises KeyboardInterrupt where a signal ended it, when its record is saved."""
        began = time.monotonic()
        record: RunRecord | None = None
        said = ""
        outcome: Outcome = "error"
        try:
            torch.set_num_threads(self._threads)
            folder.mkdir(parents=True)
            resolved = runner.resolve(config)
            record = runner.run(resolved, folder, _Silent(), suggest=self._suggest, enough=self._rule(resolved))
            outcome = _OUTCOMES[record.status]
        except (UsageError, RuntimeError, OSError) as error:
            said = f"{type(error).__name__}: {error}" if not isinstance(error, UsageError) else str(error)
        finally:
            _tidy(config)
        if outcome == "interrupted":
            raise signals.Interrupted
        return Finished(
            outcome=outcome,
            exit_code=0 if outcome == "ok" else 1,
            signal=None,
            wall_s=time.monotonic() - began,
            stderr_tail=said,
            record=record,
        )


def _tidy(config: RunConfig) -> None:
    """Give back what can be given back; what cannot (a fragmented heap, warm caches) is the price of this mode."""
    if config.compile != "off":
        torch.compiler.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
