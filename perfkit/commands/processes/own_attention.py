"""Whether a function of the user's computes attention: one call of it, before anything is measured."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from perfkit.analysis.attention import runs
from perfkit.commands.console.progress import going_on
from perfkit.errors import UsageError
from perfkit.launch import campaign
from perfkit.launch.processes import run_child
from perfkit.schema.campaign import Finished
from perfkit.schema.parts.attention import FUNCTION, Cell


def check(
    function: str, sequence: int, width: int, device: str, run_child: Callable[..., Finished] = run_child
) -> None:
    """Call `function`, a `package.module:callable`, once in a process of its own, forward and backward.

    Raises UsageError, in one line, where it is not there, cannot be called, or computes something else than attention.
    """
    cell = Cell(sequence=sequence, width=width, implementation=FUNCTION, function=function)
    with tempfile.TemporaryDirectory() as folder, going_on(f"calling {function} once"):
        config = runs.config_of(cell, device, passes=1, warmup=1)
        finished = run_child(config, Path(folder) / "once", extra=campaign.EXTRA_FLAGS)
    if finished.outcome == "error":
        raise UsageError(finished.last_words)
