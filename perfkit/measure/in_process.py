"""Runs a sweep's points in this process: faster, because no process is started, but points are not isolated."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from perfkit import signals
from perfkit.errors import UsageError
from perfkit.measure import runner
from perfkit.measure.loop import Observer
from perfkit.schema.campaign import Finished, Outcome
from perfkit.schema.config import RunConfig
from perfkit.schema.record import RunRecord
from perfkit.schema.stopping import StopRule
from perfkit.workload.protocol import Workload
from perfkit.workload.step import TransformerWorkload

_OUTCOMES: dict[str, Outcome] = {"ok": "ok", "oom": "oom", "interrupted": "interrupted"}


class Executor:
    """Runs configurations one after the other, and cleans up after each.

    For each run, `observers` makes its observers, `enough` the stop rule for a resolved configuration, and `build` the
    workload, as for `runner.run`.
    """

    def __init__(
        self,
        observers: Callable[[], Sequence[Observer]] = tuple,
        enough: Callable[[RunConfig], StopRule | None] = lambda _: None,
        build: Callable[[RunConfig], Workload] = TransformerWorkload,
        forget_compiled: Callable[[], None] = torch.compiler.reset,
    ) -> None:
        self._observers, self._enough = observers, enough
        self._build = build
        self._forget_compiled = forget_compiled
        self._threads = torch.get_num_threads()

    def __call__(self, config: RunConfig, folder: Path) -> Finished:
        """Run one configuration. If a signal ended it, raises KeyboardInterrupt after saving its record."""
        began = time.monotonic()
        record: RunRecord | None = None
        said = ""
        outcome: Outcome = "error"
        try:
            torch.set_num_threads(self._threads)
            folder.mkdir(parents=True)
            resolved = runner.resolve(config)
            enough = self._enough(resolved)
            record = runner.run(resolved, folder, self._observers(), enough=enough, build=self._build)
            outcome = _OUTCOMES[record.status]
        except (UsageError, RuntimeError, OSError) as error:
            said = f"{type(error).__name__}: {error}" if not isinstance(error, UsageError) else str(error)
        finally:
            self._tidy(config)
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

    def _tidy(self, config: RunConfig) -> None:
        """Free what can be freed; a fragmented heap and warm caches remain."""
        if config.step.compile != "off":
            self._forget_compiled()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
