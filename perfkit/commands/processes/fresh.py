"""Campaigns of fresh processes for `run --repeats` and `compare --run`, and how their failures are handled."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from perfkit import signals
from perfkit.commands.console.campaigns import CampaignProgress
from perfkit.errors import InterruptedRunError, OutOfMemoryError, PerfkitError, UsageError
from perfkit.launch import campaign
from perfkit.launch.processes import run_child
from perfkit.schema import record
from perfkit.schema.campaign import Finished, Point, Turn
from perfkit.schema.own_files import RECORD_FILE


def measure(
    points: Sequence[Point], repeats: int, folder: Path, run_child: Callable[..., Finished] = run_child
) -> None:
    """Run each point `repeats` times, interleaved in random order; each run's record is in `folder`/point/repeat.

    A single point gets no folder level. A failure in the first round is raised, because it would happen again; after
    a later failure only that run's record is missing.
    """
    turns = campaign.order(points, repeats, seed=random.randrange(2**32))
    single = len(points) == 1

    def execute(turn: Turn, _: Path) -> Finished:
        own = folder / str(turn.repeat) if single else folder / turn.point.key / str(turn.repeat)
        return run_child(turn.point.config, own, wrapper=turn.point.wrapper, extra=campaign.EXTRA_FLAGS)

    with CampaignProgress(turns) as progress:

        def on_finish(turn: Turn, finished: Finished) -> None:
            if finished.outcome != "ok" and (turn.repeat == 1 or finished.disk_full):
                raise failure("" if single else f"{turn.name}: ", finished, folder)
            progress.finish(turn, finished)

        try:
            campaign.run(turns, folder, execute, on_start=progress.start, on_finish=on_finish)
        except KeyboardInterrupt as error:
            _remove_without_records(folder)
            raise InterruptedRunError(signals.by(error), f"; {_saved(folder, len(turns))}") from error
        except UsageError:
            _remove_without_records(folder)
            raise


def _saved(folder: Path, processes: int) -> str:
    records = [record.load(file) for file in folder.rglob(RECORD_FILE)]
    whole = sum(saved.status != "interrupted" for saved in records)
    steps = sum(len(saved.steps) for saved in records if saved.status == "interrupted")
    if not records:
        return "nothing was measured"
    more = f" and {steps} measured steps of another" if steps else ""
    return f"{whole} of {processes} processes{more} saved in {folder}"


def failure(where: str, finished: Finished, folder: Path) -> PerfkitError:
    """What to raise for a process that did not end well; `where` is put before its last words."""
    if finished.outcome == "oom":
        text = finished.last_words
        return OutOfMemoryError(where + ("" if text.startswith("out of memory") else "out of memory: ") + text)
    text = finished.last_words.rstrip(".") if finished.exit_code else f"the process ended: {finished.outcome}"
    if finished.exit_code == UsageError.exit_code:
        return UsageError(where + text)
    return PerfkitError(f"{where}{text}; its full output is in a .log file in {folder}")


def _remove_without_records(folder: Path) -> None:
    """Remove the campaign's folder if no run left a record in it."""
    if not any(folder.rglob(RECORD_FILE)):
        shutil.rmtree(folder, ignore_errors=True)
