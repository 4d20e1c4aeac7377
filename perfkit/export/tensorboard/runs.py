"""Runs and sweeps as events: what each of TensorBoard's tabs shows of them.

Times are in ms, memory is in MiB: TensorBoard writes no units, so the tags have them.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from perfkit.analysis.runs import summary as run_summary
from perfkit.analysis.runs.summary import RunSummary
from perfkit.export.tensorboard.events import EventFile, Hparams
from perfkit.render import markdown
from perfkit.render.opening import opening
from perfkit.schema.config import FIELDS, RunConfig
from perfkit.schema.record import RunRecord, StepSample
from perfkit.schema.report import Report
from perfkit.schema.sweep import SweepRow

LIVE_S = 10.0
"""How often steps of a run that goes on are written; TensorBoard looks for new ones every 30 s."""
TOP = 30
"""Rows of each table."""
METRICS = {
    "result/median_ms": ("median step (ms)", "median_s", 1e3),
    "result/mean_ms": ("mean step (ms)", "mean_s", 1e3),
    "result/cv": ("CV", "cv", 1.0),
    "result/tokens_per_s": ("tokens/s", "tokens_per_s", 1.0),
    "result/peak_memory_MiB": ("peak memory (MiB)", "peak_memory_bytes", 2**-20),
}
"""Tags of scalars that are results; their headings in HPARAMS, fields in perfkit's summaries, and factors."""
_INSTEAD = {"<": "&lt;", "&": "&amp;", "~": "~", "$": "$"}
_UNKNOWN = re.compile(r"\\([<&~$])")
_CODE = re.compile(r"(?<![\\`])((?:`(?!`)[^`\n]+`|`{2}(?!`).+?`{2}|`{3,}.+?`{3,})(?!`))")
HPARAMS = tuple(name for name, field in FIELDS.items() if field.part != "measurement")
"""Fields of a configuration that say what was measured, not how."""


class RunEvents:
    """The event file of a run; it is made with its first events, so that a run that measured nothing leaves none.

    `origin` and `instead` are as in EventFile.
    """

    def __init__(
        self,
        folder: Path,
        origin: str = "",
        instead: str = "",
        *,
        now: Callable[[], float] = time.monotonic,
        unix: Callable[[], float] = time.time,
    ) -> None:
        self._make, self._now, self._unix = partial(EventFile, folder, origin, instead), now, unix
        self._waiting: list[tuple[str, int, StepSample, float]] = []
        self._file: EventFile | None = None
        self._flushed = now()

    @property
    def name(self) -> str | None:
        """The file's name; None before there is one."""
        return None if self._file is None else self._file.path.name

    def step(self, stage: str, index: int, sample: StepSample) -> None:
        """Note a step, and now and then write those noted. Raises OSError."""
        self._waiting.append((stage, index, sample, self._unix()))
        if self._now() - self._flushed >= LIVE_S:
            self.flush()

    def flush(self) -> None:
        """Write the steps noted. Raises OSError."""
        for stage, index, sample, at in self._waiting:
            prefix = "step_ms" if stage == "measured" else "warm-up_ms"
            times = {"total": sample.wall_s, **sample.phases_s}
            self._events.scalars({f"{prefix}/{name}": seconds * 1e3 for name, seconds in times.items()}, index, at)
        self._waiting.clear()
        if self._file is not None:
            self._file.flush()
        self._flushed = self._now()

    def finish(self, record: RunRecord, reports: Sequence[Report], pictures: Mapping[str, bytes]) -> None:
        """Write all else, and close the file. Steps that nobody noted are written too. Raises OSError."""
        if self._file is None and not self._waiting:
            for stage, samples in (("warm-up", record.warmup), ("measured", record.steps)):
                for index, sample in enumerate(samples):
                    self.step(stage, index, sample)
        self.flush()
        at = self._unix()
        if record.steps:
            for name, values in run_summary.phase_series(record.steps).items():
                phase = "total" if name == run_summary.STEP else name
                for step in ends(len(record.steps)):  # as the results are: level bands
                    self._events.histogram(f"steps_ms/{phase}", values * 1e3, step, at)  # a tag is of one kind
        results = metrics(run_summary.summarize(record))
        name = ""  # then TensorBoard takes the path below the folder that it shows: A/1 and B/1 are two rows
        add_trial(self._events, record.config, results, len(record.steps), name, at, succeeded=record.status == "ok")
        add_reports(self._events, reports, at)
        add_pictures(self._events, pictures, at)
        self.close()

    def close(self) -> None:
        """Close the file, if there is one. Raises OSError."""
        if self._file is not None:
            self._file.close()

    @property
    def _events(self) -> EventFile:
        if self._file is None:
            self._file = self._make()
        return self._file


def metrics(result: RunSummary | SweepRow) -> dict[str, float]:
    """The results that there are, by tag and in its unit."""
    known = ((tag, getattr(result, name), factor) for tag, (_, name, factor) in METRICS.items())
    return {tag: value * factor for tag, value, factor in known if value is not None and not math.isnan(value)}


def add_trial(
    events: EventFile,
    config: RunConfig,
    results: Mapping[str, float],
    steps: int,
    name: str,
    at: float,
    *,
    succeeded: bool,
) -> None:
    """A row of the tab HPARAMS, with its results. Its columns are the same in every run, or the tab would mix them.

    A result is a level line from the first measured step to the last: of several runs with one point each, TensorBoard
    2.21's SCALARS draws an axis from 0 to 1, and their points are not on it.
    """
    events.experiment(HPARAMS, {tag: title for tag, (title, *_) in METRICS.items()}, at)
    events.trial(hparams(config), name, at, succeeded=succeeded)
    for step in ends(steps):
        events.scalars(results, step, at)


def ends(steps: int) -> tuple[int, int]:
    """The first measured step and the last, two even of one: what is drawn between them has a length."""
    return 0, max(1, steps - 1)


def hparams(config: RunConfig) -> Hparams:
    """What was measured, as values that HPARAMS can show; what is not set is left out."""
    values = {name: config.value(name) for name in ("workload", *HPARAMS)}
    kept = {name: value for name, value in values.items() if value is not None}
    return {name: value if isinstance(value, bool | int | float | str) else str(value) for name, value in kept.items()}


def add_reports(events: EventFile, reports: Sequence[Report], at: float) -> None:
    """Findings and tables, as people see them: one text each."""
    found = [finding for report in reports for finding in report.findings]
    if found:
        events.text("findings", _in_dialect(markdown.opening(opening(found))), at)
    for report in reports:
        for table in report.seen_by("people").tables:
            events.text(f"tables/{table.name}", _in_dialect(markdown.markdown(table, top=TOP)), at)


def _in_dialect(text: str) -> str:
    """TensorBoard's Markdown (Python-Markdown) has no backslash before these nor, in code, before |; GitHub's has."""
    return "".join(
        part.replace("\\|", "|") if part.startswith("`") else _UNKNOWN.sub(lambda found: _INSTEAD[found[1]], part)
        for part in _CODE.split(text)
    )


def add_pictures(events: EventFile, pictures: Mapping[str, bytes], at: float) -> None:
    """PNGs by name."""
    for name, png in pictures.items():
        events.picture(f"figures/{name}", png, at)


def write_trace(folder: Path, reports: Sequence[Report], pictures: Mapping[str, bytes], origin: str = "") -> None:
    """The tables and figures of a trace alone. Raises OSError."""
    events, at = EventFile(folder, origin), time.time()
    add_reports(events, reports, at)
    add_pictures(events, pictures, at)
    events.close()


def write_sweep(
    folder: Path, rows: Sequence[SweepRow], report: Report, pictures: Mapping[str, bytes], origin: str = ""
) -> None:
    """A row of HPARAMS for each run of a sweep, each in a folder of its own; tables and chart beside them."""
    write_trace(folder, [report], pictures, origin)
    for row, name in zip(rows, folder_names([f"{row.key}_{row.repeat}" for row in rows]), strict=True):
        (folder / name).mkdir(exist_ok=True)
        events, at = EventFile(folder / name, origin), time.time()
        add_trial(events, row.config, metrics(row), row.steps or 0, name, at, succeeded=row.outcome == "ok")
        events.close()


def folder_names(names: Sequence[str]) -> list[str]:
    """A folder's name for each, no two alike: what a file says must not lead out of the folder that was asked for."""
    found: dict[str, None] = {}
    for name in names:
        plain = re.sub(r"[^\w.+=-]", "-", name, flags=re.ASCII)[:100].lstrip(".") or "run"
        unique = (plain, *(f"{plain}-{number}" for number in range(2, len(names) + 2)))
        found[next(each for each in unique if each not in found)] = None
    return list(found)
