"""`perfkit.profile` for a loop with Accelerate: `with profile(accelerator, model, "traces/my-run") as p:`."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Unpack

from torch import nn

from perfkit.integrations.session import Options, Session

try:
    from accelerate import Accelerator
except ImportError:
    raise ModuleNotFoundError(
        "perfkit.integrations.accelerate needs accelerate: pip install accelerate", name="accelerate"
    ) from None


class AcceleratorProfile(Session):
    """A profile of the body of a `with`, where `step()` comes after each batch."""

    _counted_by = "p.step()"
    _begins_at_once = True

    def __init__(
        self,
        accelerator: Accelerator,
        model: nn.Module,
        folder: str | os.PathLike[str],
        *,
        ranks: Collection[int] | None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(folder, ranks=ranks, **options)
        self._accelerator, self._given = accelerator, model

    def __enter__(self) -> AcceleratorProfile:
        self._start(self._given, self._accelerator.process_index, self._accelerator.num_processes)
        self._go_on()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close(error)

    def step(self) -> None:
        """The loop's batch is over, and where Accelerate has synchronized gradients, a step is."""
        if self._accelerator.sync_gradients:
            self._over()

    def phase(self, name: str) -> AbstractContextManager[None]:
        """The body is a phase of this name. Raises UsageError for an unfit name."""
        return self._phase(name)


def profile(
    accelerator: Accelerator,
    model: nn.Module,
    folder: str | os.PathLike[str] = "traces/profile",
    *,
    ranks: Collection[int] | None = None,
    **options: Unpack[Options],
) -> AcceleratorProfile:
    """Observe steps of a loop with Accelerate, where `p.step()` comes after each batch.

    `model` is what `accelerator.prepare` returned; all else is as of `perfkit.profile`, and `ranks` says which
    processes of several are profiled, by default all, each in a folder `rank_N`. A step is one of the optimizer: it has
    all batches that `accelerator.accumulate` puts together. What the model does in eval mode between two steps belongs
    to none. Raises UsageError where nothing would be measured, or it cannot be.
    """
    return AcceleratorProfile(accelerator, model, folder, ranks=ranks, **options)
